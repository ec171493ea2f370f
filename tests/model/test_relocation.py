"""Relocation of x86_64: golden values of the 2019 report, then properties of applying and clearing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klpteach.errors import KlpteachError
from klpteach.files.module_file import ModuleFile
from klpteach.files.relocation_types import HOWTO_X86_64
from klpteach.files.samples import sample
from klpteach.files.write import tiny_module
from klpteach.model import messages
from klpteach.model.arch import fast
from klpteach.model.errno import Refused
from klpteach.model.load_image import laid_out, load_image
from klpteach.model.policy import behaviour

PLACE = 0xFFFFFFFFC0206000


def module(release, entries, symbols, size=64, before=b"", proposals=(), place=PLACE):
    """A livepatch that is being loaded: .text at `place`, its relocations (offset, type, symbol, addend), and the lines."""
    rows = [(".text", offset, kind, f"s{symbol}", addend) for offset, kind, symbol, addend in entries]
    names = [(f"s{number}", None, 0) for number in range(len(symbols))]
    data = tiny_module("lp", {".text": before.ljust(size, b"\0")}, names, rows)
    lines = []
    me = laid_out(ModuleFile(data, "lp.ko"), place, behaviour(release, proposals), lambda line: lines.append(line))
    me.simplify_symbols(lambda name: symbols[int(name[1:])])
    return me, me.image.bytes_of(me.file.section_names.index(".text")), lines


def apply(me):
    me.image.arch.apply_relocate_add(me, me.file.section_names.index(".rela.text"))


def clear(me):
    me.image.arch.clear_relocate_add(me, me.file.section_names.index(".rela.text"))


def relocate(*args, **more):
    """The bytes after applying, the errno (0 or negative), and the lines."""
    me, target, lines = module(*args, **more)
    errno = 0
    try:
        apply(me)
    except Refused as refused:
        errno = refused.errno
    return target.tobytes(), errno, [line.render() for line in lines]


def test_the_reports_value_is_the_symbol_plus_the_addend() -> None:
    """The mail of 2019: val ffffffffa03e293c with A = -4, so S = ffffffffa03e2940."""
    symbol = 0xFFFFFFFFA03E2940
    _, errno, lines = relocate("5.3", [(0, 2, 0, -4)], [symbol], before=b"\x90")
    assert errno == -8
    assert lines[0].startswith(
        "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, loc "
    )
    assert lines[0].endswith(", val ffffffffa03e293c")


def test_since_6_3_the_printed_value_has_the_place_subtracted() -> None:
    _, _, lines = relocate("6.3", [(0x10, 2, 0, -4)], [PLACE + 0x1000], before=b"\0" * 16 + b"\x90")
    assert lines[0].endswith("val fec") and "Skipping" not in lines[0]


def test_pc32_stores_the_distance() -> None:
    """S = ffffffffa03e2940, P = ffffffffa0440010, A = -4: 2c 29 fa ff."""
    me, target, _ = module("6.1", [(0, 2, 0, -4)], [0xFFFFFFFFA03E2940], size=4, place=0xFFFFFFFFA0440010)
    apply(me)
    assert target.tobytes() == bytes.fromhex("2c29faff")


@pytest.mark.parametrize(
    ("kind", "symbol", "line"),
    [
        (11, 0x80000000, "module: overflow in relocation type 11 val 80000000"),
        (10, 0xFFFFFFFF81000000, "module: overflow in relocation type 10 val ffffffff81000000"),
    ],
)
def test_an_overflow_is_told_in_two_lines(kind: int, symbol: int, line: str) -> None:
    for release in ("5.3", "6.1", "6.3", "6.12"):
        _, errno, lines = relocate(release, [(0, kind, 0, 0)], [symbol])
        assert (errno, lines) == (-8, [line, "module: `lp' likely not compiled with -mcmodel=kernel"])


def test_up_to_6_2_an_overflowing_value_has_been_written() -> None:
    assert relocate("6.1", [(0, 11, 0, 0)], [0x80000000])[0][:4] == bytes.fromhex("00000080")
    assert relocate("6.3", [(0, 11, 0, 0)], [0x80000000])[0][:4] == bytes(4)


def test_an_overflow_at_a_nonzero_place_is_an_overflow_since_6_3_and_nonzero_before() -> None:
    old = relocate("6.1", [(0, 11, 0, 0)], [0x80000000], before=b"\x01")[2][0]
    new = relocate("6.12", [(0, 11, 0, 0)], [0x80000000], before=b"\x01")[2][0]
    assert messages.NONZERO_SKIPPING.match(old) and messages.OVERFLOW.match(new)


def test_what_stands_before_the_first_bad_entry_stays_written() -> None:
    entries = [(0, 1, 0, 0), (8, 42, 0, 0), (16, 1, 0, 0)]
    body, errno, lines = relocate("6.1", entries, [0x1122334455667788])
    assert (errno, lines) == (-8, ["module: lp: Unknown rela relocation: 42"])
    assert body[:24] == bytes.fromhex("8877665544332211") + bytes(16)


def test_the_check_asks_for_zero_and_not_for_another_value() -> None:
    """Even the right bytes are refused: that is why a reload fails at the same address too."""
    body, _, _ = relocate("6.1", [(0, 1, 0, 0)], [0x1234])
    assert relocate("6.1", [(0, 1, 0, 0)], [0x1234], before=body)[1] == -8
    assert relocate("6.1", [(0, 1, 0, 0)], [0x1234], before=body, proposals=["remove-check"])[1] == 0


def test_the_table_agrees_with_pyelftools_on_every_number() -> None:
    from elftools.elf.enums import ENUM_RELOC_TYPE_x64

    assert all(ENUM_RELOC_TYPE_x64[row.name] == number for number, row in HOWTO_X86_64.items())


# -- properties -----------------------------------------------------------------------------------------------------------

KINDS = st.sampled_from([1, 2, 4, 11, 24, 0])


@st.composite
def sections(draw, most=120):
    """A relocation section whose entries stand apart, and symbols that a kernel could have."""
    symbols = draw(st.lists(st.integers(0xFFFFFFFF80001000, 0xFFFFFFFFFFFF0000), min_size=1, max_size=5))
    kinds = draw(st.lists(KINDS, min_size=1, max_size=most))
    entries = [
        (8 * n, kind, draw(st.integers(0, len(symbols) - 1)), draw(st.integers(-64, 64)))
        for n, kind in enumerate(kinds)
    ]
    return entries, symbols, 8 * len(kinds)


@given(sections())
@settings(max_examples=60, deadline=None)
def test_the_vectorised_pass_writes_what_the_loop_writes(section) -> None:
    entries, symbols, size = section
    images = []
    for threshold in (0, 1 << 30):
        keep, fast.VECTOR_FROM = fast.VECTOR_FROM, threshold
        try:
            images.append(relocate("6.1", entries, symbols, size))
        finally:
            fast.VECTOR_FROM = keep
    assert images[0] == images[1]


@given(sections(), st.integers(0, 7), st.binary(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_on_any_failure_the_vectorised_pass_leaves_it_to_the_loop(section, where, noise) -> None:
    entries, symbols, size = section
    before = bytes(min(8 * where, size - 8)) + noise[:8].ljust(8, b"\0")
    images = []
    for threshold in (0, 1 << 30):
        keep, fast.VECTOR_FROM = fast.VECTOR_FROM, threshold
        try:
            images.append(relocate("6.12", entries, symbols, size, before))
        finally:
            fast.VECTOR_FROM = keep
    assert images[0] == images[1]


@given(sections(), st.sampled_from(["checked", "unchecked"]))
@settings(max_examples=60, deadline=None)
def test_clearing_gives_back_the_bytes_of_the_file(section, how) -> None:
    entries, symbols, size = section
    proposal = "clear-checked" if how == "checked" else "clear-relocations"
    me, target, _ = module("6.1", entries, symbols, size, proposals=[proposal])
    apply(me)
    clear(me)
    assert not target.any()


def test_checked_clearing_stops_at_a_strangers_byte_and_leaves_the_rest() -> None:
    me, target, lines = module("6.12", [(0, 1, 0, 0), (8, 1, 0, 0), (16, 1, 0, 0)], [0x1234], size=24)
    apply(me)
    target[8] ^= 1
    with pytest.raises(Refused):
        clear(me)
    assert [line.message for line in lines] == [messages.MISMATCH]
    assert [target[n : n + 8].any() for n in (0, 8, 16)] == [False, True, True]


@pytest.mark.parametrize("release, base, words", [
    ("6.1", 0xFFFFFFFFFFFFFF00, "leaves the 64-bit address space"),
    ("6.1", 0xFFFFFFFFFFFFF000, "leaves the 64-bit address space"),
    ("6.1", {"core": 0x1000, "init": 0x1000}, "overlaps core"),
    ("6.1", {"text": 0x1000}, "no region 'text' on this release, only core, init"),
    ("6.12", {"txt": 0x1000}, "no region 'txt' on this release, only text, "),
])  # fmt: skip
def test_a_base_that_no_kernel_would_give_is_refused(release: str, base: int | dict[str, int], words: str) -> None:
    with pytest.raises(KlpteachError, match=words):
        load_image(ModuleFile.open(sample("filler64k.ko")), base, lambda name: 0, release)
