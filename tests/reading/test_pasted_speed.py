"""A log of any size and any bytes is read in time and memory that grow with it only (processor time: the machine may be busy)."""

import io
import random
import subprocess
import sys
import time

import pytest
from conftest import NO_KO

from klpteach.errors import KlpteachError
from klpteach.reading.log.explain import read
from klpteach.reading.log.pasted import blocks

MB = 1 << 20
NOISE = "Nov 26 11:12:13 myhost kernel: [12345.678901] usb 1-2: new high-speed USB device number 11 using xhci_hcd\n"
KNOWN = "Nov 26 11:12:13 myhost kernel: [12345.678901] livepatch: failed to initialize patch 'livepatch_nfsd' for module 'nfsd' (-8)\n"
HOSTILE = {
    "one line": NOISE.replace("\n", " "),
    "prefixes": "livepatch: ",
    "beginnings": "livepatch: symbol '",
    "an open quote": "a",
    "middles": ": Unknown symbol ",
    "long beginnings": "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 1, loc ",
    "escapes": "\x1b[",
    "entities": "&#x26;",
    "quotes": "> ",
    "lines": "\n",
    "unknown lines": "livepatch: foo bar baz\n",
    "half lines": "relocation\n",
    "warnings": "WARNING: CPU: 1 PID: 1 at ",
    "dots": "a.",
    "backslashes": "\\",
    "dotted capital I": "\u0130",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_megabyte_of_anything_is_read_in_seconds(what):
    piece = HOSTILE[what]
    text = ("livepatch: patch '" if what == "an open quote" else "") + piece * (MB // len(piece))
    began = time.process_time()
    log = read(text.encode(), NO_KO)
    assert time.process_time() - began < 8
    assert len(log.found) <= 1000


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes_are_read(seed):
    chance = random.Random(seed)
    read(chance.randbytes(1 << 16), NO_KO)
    pieces = [
        "livepatch: ",
        "'",
        "nfsd",
        " (-8)",
        "\n",
        "> ",
        "\x00",
        "&amp;",
        "\x1b[33m",
        "refusing to load",
        "\r",
        "module: ",
        "[ 1.0] ",
    ]
    read("".join(chance.choice(pieces) for _ in range(5000)), NO_KO)


def test_blocks_are_the_whole_text_and_cut_at_lines():
    text = NOISE * 30_000
    parts = list(blocks(io.BytesIO(text.encode())))
    assert "".join(parts) == text and len(parts) > 1 and all(part.endswith("\n") for part in parts)
    assert "".join(blocks("x" * (3 * MB))) == "x" * (3 * MB)


def test_a_message_at_the_end_of_a_block_is_found():
    near = MB - MB % len(NOISE) - len(NOISE)
    for before in range(3):
        text = NOISE * (near // len(NOISE) + before) + KNOWN + NOISE * 100
        assert [one.message for one in read(io.BytesIO(text.encode()), NO_KO).found] == ["INIT_FAILED"]


def test_numbers_go_on_over_blocks():
    text = NOISE * 30_000 + KNOWN
    assert read(io.BytesIO(text.encode()), NO_KO).found[0].number == 30_001


def test_fifty_megabytes_need_few_seconds_and_little_memory():
    """In a process of its own, whose peak is its own; the log comes through a pipe."""
    code = (
        "import re, sys, time\n"
        "from klpteach.reading.log.explain import read\n"
        "log = read(sys.stdin.buffer)\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"  # ru_maxrss is the parent's at first
        "print(len(log.found), time.process_time(), int(peak) // 1024)\n"
    )
    block = (NOISE * 200 + KNOWN).encode()
    feed = block * (50 * MB // len(block))
    done = subprocess.run([sys.executable, "-c", code], input=feed, capture_output=True, check=True, timeout=300)
    found, seconds, peak = done.stdout.split()
    assert int(found) == 1000
    assert float(seconds) < 8 and int(peak) < 300


@pytest.mark.parametrize("lines", [True, False], ids=["lines", "one line"])
def test_fifty_megabytes_of_no_text_are_left_out_and_counted(lines):
    """The file is its own, so that what is measured is the reading only."""
    code = (
        "import random, re, sys, tempfile, time\n"
        "from klpteach.reading.log.explain import read\n"
        "piece = random.Random(1).randbytes(1 << 20)\n"
        "piece = piece if int(sys.argv[1]) else piece.replace(b'\\n', b'a').replace(b'\\r', b'a')\n"
        "with tempfile.TemporaryFile() as file:\n"
        "    for _ in range(50):\n"
        "        file.write(piece)\n"
        "    file.seek(0)\n"
        "    began = time.process_time()\n"
        "    log = read(file)\n"
        "    took = time.process_time() - began\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(took, int(peak) // 1024, log.notes[0], sep='|')\n"
    )
    argv = [sys.executable, "-c", code, str(int(lines))]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=300, text=True)
    seconds, peak, note = done.stdout.strip().split("|")
    assert float(seconds) < 8 and int(peak) < 300
    assert note == "52428800 bytes are no text and were not read."


def test_messages_beside_what_is_no_text_keep_their_numbers():
    noise = random.Random(1).randbytes(1 << 17)
    data = KNOWN.encode().ljust(1 << 16, b"\n") + noise + b"\n" + KNOWN.encode()
    log = read(data, NO_KO)
    assert [one.number for one in log.found] == [1, data.rstrip(b"\n").count(b"\n") + 1]


@pytest.mark.parametrize(
    "line", ["\u6a21\u5757\u52a0\u8f7d\u5931\u8d25\n", "\x1b[33mred\x1b[0m\n", "Zuf\xe4llig\n", "\x00\x00\n"]
)
def test_logs_in_other_letters_and_with_zeros_are_text(line):
    text = line * (1 << 16) + KNOWN
    for data in (text.encode(), text.encode("latin-1", "replace")):
        log = read(data, NO_KO)
        assert len(log.found) == 1 and not log.notes


def test_a_device_is_refused_in_one_line():
    with open("/dev/zero", "rb") as device, pytest.raises(KlpteachError, match="/dev/zero: a device, not a log"):
        read(device, NO_KO)
