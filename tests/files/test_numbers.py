"""The numbers of the ELF specification and of the psABIs by pyelftools, and numbers as a reader writes them."""

from __future__ import annotations

import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.enums import ENUM_E_MACHINE, ENUM_E_TYPE, ENUM_SH_TYPE_BASE, ENUM_ST_INFO_BIND, ENUM_ST_SHNDX

from klpteach.errors import KlpteachError
from klpteach.files import elf_h
from klpteach.files.elf_h import EM_X86_64, machine_name
from klpteach.files.relocation_types import HOWTO, type_widths
from klpteach.files.symbol_list import number
from klpteach.files.write import Rela


def test_a_relocation_without_an_addend_has_none() -> None:
    assert Rela(8, 1, 2) == Rela(8, 1, 2, 0)


def test_the_numbers_of_the_elf_specification_are_those_of_pyelftools() -> None:
    ours = {
        name: value
        for name, value in vars(elf_h).items()
        if name.startswith(("SHT_", "SHF_", "SHN_", "STB_", "ET_", "EM_"))
    }
    theirs = {
        **vars(SH_FLAGS),
        **ENUM_E_MACHINE,
        **ENUM_E_TYPE,
        **ENUM_SH_TYPE_BASE,
        **ENUM_ST_INFO_BIND,
        **ENUM_ST_SHNDX,
    }
    of_livepatch = {
        "SHF_RELA_LIVEPATCH": 0x00100000,
        "SHF_RO_AFTER_INIT": 0x00200000,
        "SHN_LIVEPATCH": 0xFF20,
    }  # linux/elf.h
    assert ours == {name: (theirs | of_livepatch)[name] for name in ours} and len(ours) > 18


@pytest.mark.parametrize("value", ["", "zz", "0x", "1" * 17, -1, 1 << 64, 1.0, None, b"10", True])
def test_what_is_no_address_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(KlpteachError, match=r"^--base: .* is no 64-bit address in hex\.$"):
        number(value, "--base")


def test_an_address_is_a_number_or_its_hexadecimal_digits() -> None:
    assert number(16, "it") == number("10", "it") == number("0x10", "it") == 16
    assert number((1 << 64) - 1, "it") == number("f" * 16, "it")


@pytest.mark.parametrize("machine", HOWTO)
def test_every_type_that_the_kernel_knows_has_its_width_in_the_table_and_the_last_entry_is_nobodys(
    machine: int,
) -> None:
    widths = type_widths(machine, -1)
    assert {kind: howto.width for kind, howto in HOWTO[machine].items()} == {
        kind: width for kind, width in enumerate(widths.tolist()) if width != -1
    }
    assert len(widths) >= 256 and widths[-1] == -1


def test_every_machine_that_is_refused_is_named_as_pyelftools_names_it() -> None:
    spelled = {
        "i386": "386",
        "m68k": "68k",
        "powerpc": "ppc",
        "sparc64": "sparcv9",
        "ia64": "ia_64",
        "arc": "arc_compact2",
        "s390x": "s390",
    }
    known = {
        value: name.removeprefix("EM_").lower() for name, value in ENUM_E_MACHINE.items() if isinstance(value, int)
    }
    named = {value: machine_name(value) for value in known}
    told = {value: name.partition(" ")[0] for value, name in named.items() if not name.startswith("machine ")}
    assert {value: spelled.get(name, name) for value, name in told.items()} == {value: known[value] for value in told}
    assert len(told) == 18


def test_what_is_counted_from_its_own_place_is_relative() -> None:
    relative = {kind for kind, howto in HOWTO[EM_X86_64].items() if howto.relative}
    assert relative == {2, 4, 24}  # PC32, PLT32, PC64
