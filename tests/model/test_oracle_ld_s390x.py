"""GNU ld and the model agree on s390x: every field whose value does not come from a GOT, which ld lays out in its own way."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from oracle import KO, MERGED

from klpteach import Kernel, ModuleFile
from klpteach.files.elf_h import SHF_ALLOC, SHF_RELA_LIVEPATCH, SHN_LIVEPATCH, SHN_UNDEF, SHT_RELA
from klpteach.files.klp import livepatch_sections, parse_symbol
from klpteach.files.relocation_types import HOWTO_S390X
from klpteach.files.write import ElfImage
from klpteach.model.image import Image

LD = "s390x-linux-gnu-ld"
LIVEPATCHES = sorted(KO.glob("s390x-*/livepatch_*.ko"))
OF_LD = (".note.gnu.build-id", ".modinfo", "__versions")
# A PLT32DBL call is compared too: in reach, both go straight to the function.
COMPARED = {kind for kind, howto in HOWTO_S390X.items() if howto.formula in ("S + A", "S + A - P")} | {20}


def for_ld(data: bytes) -> bytes:
    """A module that ld understands: livepatch symbols are undefined ones, their relocations stand with the ordinary ones.

    Those that ask for a slot of the GOT are left out: ld 2.40 gives up where one is against an absolute symbol.
    """
    image = ElfImage.parse(data)
    image.symbols = [replace(s, shndx=SHN_UNDEF) if s.shndx == SHN_LIVEPATCH else s for s in image.symbols]
    ordinary = {s.info: s for s in image.sections if s.type == SHT_RELA and not s.flags & SHF_RELA_LIVEPATCH}
    for section in image.sections:
        section.flags &= ~MERGED
        if section.type == SHT_RELA and section.flags & SHF_RELA_LIVEPATCH:
            if section.info in ordinary:
                joined = ordinary[section.info]
                image.set_relocations(joined, [*image.relocations(joined), *image.relocations(section)])
                image.set_relocations(section, [])
            section.flags &= ~(SHF_RELA_LIVEPATCH | SHF_ALLOC)
    for section in [section for section in image.sections if section.type == SHT_RELA]:
        rows = image.relocations(section)
        image.set_relocations(section, [row for row in rows if "G" not in HOWTO_S390X[row.type].formula])
    return image.to_bytes()


def link(data: bytes, addresses: Mapping[str, int], symbols: Mapping[str, int], folder: Path) -> dict[str, bytes]:
    """Section name -> bytes after ld has put every section and every undefined symbol at its address."""
    (folder / "module.o").write_bytes(for_ld(data))
    lines = [f'"{name}" = {address:#x};' for name, address in symbols.items()]
    lines += ["SECTIONS {", *(f'"{name}" {address:#x} : {{ *("{name}") }}' for name, address in addresses.items())]
    rest = max(addresses.values()) + 0x100000
    lines += [
        f".got {rest:#x} : {{ *(.got .got.plt) }} .plt : {{ *(.plt .iplt) }} /DISCARD/ : {{ *(.modinfo .note.gnu.build-id) }} }}"
    ]
    (folder / "script.lds").write_text("\n".join(lines))
    words = [LD, "-m", "elf64_s390", "-static", "-e", "0", "--no-relax", "--no-warn-rwx-segments", "-z", "norelro"]
    done = subprocess.run(
        [*words, "-T", "script.lds", "-o", "module.elf", "module.o"], cwd=folder, capture_output=True, text=True,
        timeout=60, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]
    elf = ELFFile(io.BytesIO((folder / "module.elf").read_bytes()))
    linked = {section.name: section for section in elf.iter_sections() if section["sh_flags"] & SHF_ALLOC}
    assert all(addresses[name] == section["sh_addr"] for name, section in linked.items() if name in addresses)
    return {name: section.data() for name, section in linked.items()}


def compare(image: Image, theirs: Mapping[str, bytes]) -> Counter[str]:
    """The fields of every compared type, and how many there were of each."""
    file, seen = image.file, Counter[str]()
    for index in file.rela_sections:
        target = int(file.shdrs["info"][index])
        name, ours = file.section_names[target], image.bytes_of(target).tobytes()
        for offset, kind, symbol, _ in file.rela(index).tolist() if name in theirs else ():
            howto, S = HOWTO_S390X[kind], int(image.symbols[symbol])
            near = abs(S - image.address[target]) < 1 << 31  # not a symbol of the kernel itself
            if kind in COMPARED and howto.width and near:
                at = slice(offset, offset + howto.width)
                assert ours[at] == theirs[name][at], f"{name}+{offset:#x} {howto.name} {file.symbol_names[symbol]}"
                seen[howto.name] += 1
    return seen


@pytest.mark.skipif(not shutil.which(LD), reason="binutils-s390x-linux-gnu is not installed")
@pytest.mark.parametrize("ko", LIVEPATCHES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")
def test_ld_and_the_model_agree_on_a_livepatch_and_its_livepatch_relocations(ko: Path, tmp_path: Path) -> None:
    kernel = Kernel("s390x", ko.parent.name.partition("-")[2], records_state=False)
    targets = {"livepatch_slot_half_way": ["nfsd_demo_v2"], "livepatch_five": ["lockd_demo", "kvm_demo", "fuse_demo", "sunrpc_demo"],
               "livepatch_cumul1": ["lockd_demo"], "livepatch_cumul2": ["lockd_demo"]}  # fmt: skip
    loads = [*targets.get(ko.stem, []), *([] if ko.stem == "livepatch_slot_half_way" else ["nfsd_demo"])]
    assert [kernel.insmod(f"{name}.ko").errno for name in [*loads, ko.stem]] == [0] * (len(loads) + 1)
    mod = kernel.find_module(ko.stem)
    assert mod is not None
    image, file = mod.image, ModuleFile.open(ko)
    names = zip(file.symbol_names, file.symtab["shndx"].tolist(), image.symbols.tolist(), strict=True)
    symbols = {
        name: at
        for name, shndx, at in names
        if name and shndx in (SHN_UNDEF, SHN_LIVEPATCH) and "GLOBAL_OFFSET" not in name
    }
    # ld has no PLT for what is far away
    near = {name: at if at > 1 << 40 else 0x3FF7F000000 for name, at in symbols.items()}
    flags = file.shdrs["flags"]
    kept = {i for i in image.layout.places if flags[i] & SHF_ALLOC and not flags[i] & SHF_RELA_LIVEPATCH}
    addresses = {file.section_names[i]: image.address[i] for i in kept if file.section_names[i] not in OF_LD}
    found = compare(image, link(file.data, addresses, near, tmp_path))
    assert found["R_390_64"] > 0
    assert all(
        parse_symbol(file.symbol_names[s]) for i in livepatch_sections(file) for s in file.rela(i)["sym"].tolist()
    )
