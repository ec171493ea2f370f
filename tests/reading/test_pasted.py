"""Every way to paste the three lines of 2019 gives the three lines; and any other text is read in time that grows with it only."""

import io

import pytest
from conftest import NO_KO
from pasting import STYLES, as_mail

from klpteach.reading.log.explain import explain, read

LINES = (
    "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, "
    "loc 000000001d522ef0, val ffffffffc14531a9",
    "livepatch: failed to initialize patch 'livepatch_nfsd' for module 'nfsd' (-8)",
    "livepatch: patch 'livepatch_nfsd' failed for module 'nfsd', refusing to load module 'nfsd'",
)
NAMES = ["NONZERO_SKIPPING", "INIT_FAILED", "REFUSING"]


@pytest.mark.parametrize("style", STYLES)
def test_the_three_lines_of_2019_are_read_however_they_are_pasted(style):
    found = explain(STYLES[style](LINES), NO_KO)
    assert [one.message for one in found] == NAMES
    fields = found[0].fields | found[1].fields | found[2].fields
    assert (fields["type"], fields["val"].removeprefix("0x"), fields["err"]) == ("2", "ffffffffc14531a9", "-8")
    assert (fields["patch"], fields["module"]) == ("livepatch_nfsd", "nfsd")


@pytest.mark.parametrize("style", STYLES)
def test_a_file_of_them_is_read_as_the_text_is(style):
    pasted = STYLES[style](LINES)
    data = pasted if isinstance(pasted, bytes) else pasted.encode()
    assert read(io.BytesIO(data), NO_KO).found == explain(pasted, NO_KO)


HEADER = "Content-Transfer-Encoding: quoted-printable\n\n"
NOISE = "[12345.678901] usb 1-2: new high-speed USB device number 11 using xhci_hcd =\n"


@pytest.mark.parametrize("before", [HEADER, "", "\u2018quoted\u2019\n"], ids=["a header", "soft breaks", "a sign"])
def test_raw_mail_of_megabytes_is_read_wherever_its_blocks_end(before):
    mail = before.replace("\u2018", "=E2=80=98").replace("\u2019", "=E2=80=99") + as_mail(
        NOISE * 40_000 + "\n".join(LINES)
    )
    assert [one.message for one in read(io.BytesIO(mail.encode()), NO_KO).found] == NAMES


@pytest.mark.parametrize("text", ["=\n" * 1_000_000, "=E2=80=\n" * 300_000, "=\n=E2=80=98" * 200_000])
def test_mail_of_signs_only_is_read(text):
    assert read(text.encode(), NO_KO).found == []


@pytest.mark.parametrize("line", ["x" * 75 + "=\n", "addr=ff ptr=3d\n", "=E2\n"])
def test_a_long_log_is_no_mail_because_a_line_looks_like_one(line):
    log = "livepatch: foo=41 bar baz\n" + line + "usb 1-2: new device\n" * 20_000
    assert read(io.BytesIO(log.encode()), NO_KO).found[0].line == "livepatch: foo=41 bar baz"
