"""GNU ld and the model agree on ppc64le: every relocated field, and where every call ends up.

ld reaches the outside with one branch; the kernel goes through a stub. So a call out of the module is followed: branch,
slot of the table, funcdata. Everything else must be the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from oracle import KO, OF_LD, Unavailable, debian_modules, first_difference, link, undefined_names

from klpteach import Kernel, ModuleFile, load_image
from klpteach.files.klp import livepatch_sections, parse_symbol
from klpteach.files.relocation_types import ENTRY, HOWTO_PPC64LE, LD_TOC, REL24
from klpteach.model.arch.stubs import MPROFILE, STUB_SIZE, branch_offset
from klpteach.model.image import Image

SAMPLES = sorted(KO.glob("ppc64le-*/*.ko"))
BASE, OUTSIDE = 0xC008000001000000, 0xC008000002400000  # near enough that ld needs no stubs of its own
SHN_UNDEF, SHN_LIVEPATCH, SHT_RELA, PERCPU = 0, 0xFF20, 4, 0x30000
NO_TOC_HERE = {ENTRY}  # what depends on r2 where a module has no .toc: the kernel takes .stubs, which ld cannot know


def outside(name: str) -> int:
    """Where a kernel of this test has a symbol."""
    return OUTSIDE + (int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "little") & 0x7FFFF8)


def fields(image: Image, indices: list[int]) -> Counter[str]:
    """How many relocations of each type were looked at, after every call out of the module was followed."""
    seen: Counter[str] = Counter()
    for index in indices:
        seen.update(HOWTO_PPC64LE[kind].name for kind in image.file.rela(index)["type"].tolist())
    return seen


def follow_calls(image: Image, index: int, theirs: Mapping[str, bytes]) -> dict[str, set[int]]:
    """Check every call of a relocation section that leaves the module; the bytes of those, which need not be the same."""
    file = image.file
    target = int(file.shdrs["info"][index])
    name, ours = file.section_names[target], image.bytes_of(target)
    stubs, table = image.address[file.section_names.index(".stubs")], image.stub_table.funcdata
    free: set[int] = set()
    for offset, kind, symbol, addend in file.rela(index).tolist():
        if kind != REL24 or file.symtab["shndx"][symbol] not in (SHN_UNDEF, SHN_LIVEPATCH):
            continue
        word, after = (int.from_bytes(ours[offset + i : offset + i + 4].tobytes(), "little") for i in (0, 4))
        lds = int.from_bytes(theirs[name][offset : offset + 4], "little")
        place = image.address[target] + offset
        slot, rest = divmod(place + branch_offset(word) - stubs, STUB_SIZE)
        wanted = int(image.symbols[symbol]) + addend
        assert rest == 0 and int(table[slot]) == wanted == place + branch_offset(lds), f"{name}+{offset:#x}"
        assert word & ~0x03FFFFFC == lds & ~0x03FFFFFC
        if word & 1 and file.symbol_names[symbol] not in MPROFILE:
            assert after == LD_TOC
            free |= set(range(offset + 4, offset + 8))
        free |= set(range(offset, offset + 4))
    return {name: free}


def compare(image: Image, theirs: Mapping[str, bytes], relas: list[int]) -> None:
    """Every section of the module: the same bytes but for calls that leave it, and those were followed."""
    file, has_toc = image.file, ".toc" in image.file.section_names
    free: dict[str, set[int]] = {}
    for index in relas:
        for name, places in follow_calls(image, index, theirs).items():
            free.setdefault(name, set()).update(places)
        if not has_toc:
            rows = file.rela(index)
            for offset in rows["offset"][np.isin(rows["type"], list(NO_TOC_HERE))].tolist():
                free.setdefault(file.section_names[int(file.shdrs["info"][index])], set()).update(
                    range(offset, offset + 8)
                )
    for i, (name, body) in enumerate(zip(file.section_names, map(image.bytes_of, range(len(file.shdrs))), strict=True)):
        sorted_by_the_loader = file.shdrs["type"][i] == SHT_RELA
        if i in image.layout.places and len(body) and name in theirs and not sorted_by_the_loader:
            same = np.frombuffer(theirs[name], "u1") == body
            same[list(free.get(name, ()))] = True
            assert same.all(), first_difference(file.data, name, body.tobytes(), theirs[name])


def alloc_addresses(image: Image) -> dict[str, int]:
    names, flags = image.file.section_names, image.file.shdrs["flags"]
    found = {
        names[i]: image.address[i] for i in image.layout.places if flags[i] & 2 and names[i] not in (*OF_LD, ".stubs")
    }
    return found | ({".data..percpu": PERCPU} if ".data..percpu" in names else {})


def ask_ld(image: Image, symbols: Mapping[str, int], folder: Path, *, livepatch: bool = False) -> dict[str, bytes]:
    try:
        return link(image.file.data, alloc_addresses(image), symbols, folder, livepatch=livepatch)
    except Unavailable as reason:
        pytest.skip(str(reason))


def applied_relas(image: Image, with_livepatch: bool = False) -> list[int]:
    file = image.file
    kept = {i for i in image.layout.places if file.shdrs["flags"][i] & 2}
    klp = () if with_livepatch else livepatch_sections(file)
    return [i for i in file.rela_sections if int(file.shdrs["info"][i]) in kept and i not in klp]


def model_and_ld_agree(file: ModuleFile, folder: Path) -> Counter[str]:
    image = load_image(file, BASE, outside, percpu_base=PERCPU)
    symbols = {name: outside(name.removeprefix(".")) for name in undefined_names(file.data) if name != ".TOC."}
    relas = applied_relas(image)
    compare(image, ask_ld(image, symbols, folder), relas)
    return fields(image, relas)


@pytest.mark.parametrize("ko", SAMPLES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")
def test_ld_and_the_model_agree_on_every_field_of_a_sample_module(ko: Path, tmp_path: Path) -> None:
    assert model_and_ld_agree(ModuleFile.open(ko), tmp_path)


@pytest.mark.parametrize("release", ["6.1", "6.12"])
@pytest.mark.parametrize("name", ["livepatch_nfsd_demo.ko", "livepatch_sections.ko", "livepatch_data_only.ko"])
def test_ld_and_the_model_agree_on_livepatch_relocations_too(name: str, release: str, tmp_path: Path) -> None:
    kernel = Kernel("ppc64le", release)
    assert [kernel.insmod(file).errno for file in ("nfsd_demo.ko", name)] == [0, 0]
    target, mod = kernel.modules
    image = mod.image
    symbols = {n: kernel.resolve_symbol(mod, n.removeprefix(".")) or 0 for n in undefined_names(mod.file.data)}
    symbols.pop(".TOC.", None)
    for label in mod.file.symbol_names:
        if (parsed := parse_symbol(label)) is not None:
            symbols[label] = int(target.image.symbols[target.find_symbols(parsed.name)[max(parsed.sympos, 1) - 1]])
    near = {n: BASE if a < 0xC008000000000000 else a for n, a in symbols.items()}  # ld makes stubs for what is far away
    relas = [i for i in livepatch_sections(image.file)]
    theirs = ask_ld(image, near, tmp_path, livepatch=True)
    assert relas
    for index in relas:
        free = follow_calls(image, index, theirs)
        section = int(image.file.shdrs["info"][index])
        body, name_ = image.bytes_of(section).tobytes(), image.file.section_names[section]
        for offset, kind, _, _ in image.file.rela(index).tolist():
            at = slice(offset, offset + HOWTO_PPC64LE[kind].width)
            assert free[name_] & set(range(at.start, at.stop)) or body[at] == theirs[name_][at]


def test_ld_and_the_model_agree_on_debians_nfsd_amdgpu_and_50_more_modules(tmp_path: Path) -> None:
    try:
        modules = sorted(debian_modules("ppc64el").glob("*.ko"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    seen: Counter[str] = Counter()
    for path in modules:
        seen += model_and_ld_agree(ModuleFile.open(path), tmp_path)
    assert len(modules) == 52
    assert set(seen) == {  # all eight types that Debian's ppc64el modules have
        *("R_PPC64_ADDR64", "R_PPC_REL24", "R_PPC64_REL32", "R_PPC64_REL64"),
        *("R_PPC64_TOC16_HA", "R_PPC64_TOC16_LO", "R_PPC64_TOC16_LO_DS", "R_PPC64_ENTRY"),
    }
    assert sum(seen.values()) > 200_000
