"""GNU ld and the model agree on arm64: every field of every instruction and datum, of our modules and of Debian's.

ld is given symbols that every branch reaches, so neither side needs a way around.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from oracle import KO, OF_LD, Unavailable, debian_modules, first_difference, link, undefined_names

from klpteach import Kernel, ModuleFile
from klpteach.files.elf_h import SHT_RELA
from klpteach.files.klp import livepatch_sections, parse_symbol
from klpteach.files.relocation_types import CALL26, HOWTO_ARM64, JUMP26
from klpteach.model.image import Image
from klpteach.model.load_image import laid_out
from klpteach.model.policy import behaviour

SAMPLES = sorted(KO.glob("arm64-*/*.ko"))
BASE, OUTSIDE = 0xFFFF800001000000, 0xFFFF800002400000
PLT_SECTIONS = (".plt", ".init.plt", ".text.ftrace_trampoline", ".init.text.ftrace_trampoline")
PERCPU = 0xFFFF800003000000  # an address of the kernel's image, as __alloc_percpu() counts: adrp has to reach it


def outside(name: str) -> int:
    """Where a kernel of this test has a symbol: 16 bytes apart, since the kernel does not look at the bits that ld would miss."""
    return OUTSIDE + (int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "little") & 0x7FFFF0)


def relocated(file: ModuleFile) -> Image:
    """The module in memory with its ordinary relocations."""
    lines: list[str] = []
    me = laid_out(file, BASE, behaviour("7.3", arch="arm64"), lambda line: lines.append(line.render()), None, PERCPU)
    me.simplify_symbols(outside)
    me.apply_relocations(lambda relsec: None)
    assert lines == []
    return me.image


def ask_ld(image: Image, symbols: Mapping[str, int], folder: Path, *, livepatch: bool = False) -> dict[str, bytes]:
    names, flags = image.file.on_disk.section_names, image.file.on_disk.shdrs["flags"]
    left_out = (*OF_LD, *PLT_SECTIONS)
    addresses = {names[i]: image.address[i] for i in image.layout.places if flags[i] & 2 and names[i] not in left_out}
    if ".data..percpu" in names:
        addresses[".data..percpu"] = PERCPU
    try:
        return link(image.file.data, addresses, symbols, folder, livepatch=livepatch)
    except Unavailable as reason:
        pytest.skip(str(reason))


def model_and_ld_agree(file: ModuleFile, folder: Path) -> Counter[str]:
    """Every section has the same bytes; how many relocations of each type were applied."""
    image = relocated(file)
    theirs = ask_ld(image, {name: outside(name) for name in undefined_names(file.data)}, folder)
    for index, name in enumerate(file.section_names):
        body = image.bytes_of(index).tobytes()
        if name in theirs and body and file.shdrs["type"][index] != SHT_RELA:
            assert body == theirs[name], first_difference(file.data, name, body, theirs[name])
    kept = {i for i in image.layout.places if file.shdrs["flags"][i] & 2}
    klp = livepatch_sections(file)
    applied = [i for i in file.rela_sections if int(file.shdrs["info"][i]) in kept and i not in klp]
    return Counter(HOWTO_ARM64[kind].name for i in applied for kind in file.rela(i)["type"].tolist())


@pytest.mark.parametrize("ko", [ko for ko in SAMPLES if ko.stem != "nfsd_demo_far"], ids=lambda ko: ko.stem)
def test_ld_and_the_model_agree_on_every_field_of_a_sample_module(ko: Path, tmp_path: Path) -> None:
    assert model_and_ld_agree(ModuleFile.open(ko), tmp_path)


@pytest.mark.parametrize("name", ["livepatch_fields", "livepatch_nfsd_demo", "livepatch_sections", "livepatch_near",
                                  "livepatch_tbz", "livepatch_sibling", "livepatch_veneer", "livepatch_unaligned"])  # fmt: skip
def test_ld_and_the_model_agree_on_livepatch_relocations_too(name: str, tmp_path: Path) -> None:
    kernel = Kernel("arm64", "7.3")
    # the target first, so that every pointer is written while the livepatch is unformed; then once more, over what is there
    assert [kernel.insmod(file).errno for file in ("nfsd_demo.ko", f"{name}.ko")] == [0, 0]
    for _ in range(2):
        target, mod = kernel.find_module("nfsd_demo"), kernel.find_module(name)
        assert target is not None and mod is not None
        symbols = {n: kernel.resolve_symbol(mod, n) or 0 for n in undefined_names(mod.file.data)}
        for label in mod.file.symbol_names:
            if (parsed := parse_symbol(label)) is not None:
                symbols[label] = int(target.image.symbols[target.find_symbols(parsed.name)[max(parsed.sympos, 1) - 1]])
        image, looked_at = mod.image, 0
        theirs = ask_ld(image, symbols, tmp_path, livepatch=True)
        for index in livepatch_sections(image.file):
            section = int(image.file.shdrs["info"][index])
            body, title = image.bytes_of(section).tobytes(), image.file.section_names[section]
            for offset, kind, _, _ in image.file.rela(index).tolist():
                at = slice(offset, offset + HOWTO_ARM64[kind].width)
                dropped = (image.address[section] + offset) & 3  # never written: see test_arm64.py
                assert dropped or body[at] == theirs[title][at], f"{title}+{offset:#x}: {HOWTO_ARM64[kind].name}"
                looked_at += 1
        assert looked_at
        assert [kernel.rmmod("nfsd_demo").errno, kernel.insmod("lockd_demo.ko").errno] in ([0, 0], [0, -17])
        assert kernel.insmod("nfsd_demo.ko").errno == 0


def test_ld_and_the_model_agree_on_debians_nfsd_amdgpu_and_50_more_modules(tmp_path: Path) -> None:
    try:
        modules = sorted(debian_modules("arm64").glob("*.ko"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    seen: Counter[str] = Counter()
    for path in modules:
        seen += model_and_ld_agree(ModuleFile.open(path), tmp_path)
    assert len(modules) == 52
    assert {"R_AARCH64_CALL26", "R_AARCH64_ABS64", "R_AARCH64_ADR_PREL_PG_HI21", "R_AARCH64_PREL32"} <= set(seen)
    assert sum(seen.values()) > 160_000


def test_the_order_of_the_branches_decides_nothing_for_ld_and_is_that_of_the_symbols() -> None:
    file = ModuleFile.open(KO / "arm64-7.3" / "livepatch_sections.ko")
    image = relocated(file)
    for index in file.rela_sections:
        rows, before = image.file.rela(index), file.rela(index)
        assert sorted(rows.tolist()) == sorted(before.tolist())
        target = int(file.shdrs["info"][index])
        needs = np.isin(rows["type"], (JUMP26, CALL26)) & (file.symtab["shndx"][rows["sym"]] != target)
        if target < len(file.shdrs) and file.shdrs["flags"][target] & 4 and not needs.all():
            keys = rows[["type", "sym", "addend"]][needs].tolist()
            assert keys == sorted(keys) and not needs[int(needs.sum()) :].any()
