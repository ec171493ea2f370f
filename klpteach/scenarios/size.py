"""How large a module may be that is played: inspect and bring load it some thirty times, so what is in it counts.

The limits are a few times what real livepatches and drivers have; the kernel has none of them.
"""

from __future__ import annotations

from ..errors import KlpteachError
from ..files.elf_h import RELA, SHF_ALLOC, SHN_UNDEF
from ..files.klp import count_sites, is_module_name
from ..files.module_file import ModuleFile
from ..model.livepatch.core import klp_target_names

MOST: dict[str, int] = {
    "objects to patch": 128,  # some tens
    "functions to patch": 10_000,  # some hundreds
    "livepatch relocations": 10_000,  # some thousands
    "undefined symbols": 5_000,  # amdgpu has 2,000
    "relocations": 220_000,  # of what stays in memory; nfsd has 20,000 to 30,000, amdgpu 217,000 on ppc64le
}
MOST_ON: dict[str, dict[str, int]] = {"x86_64": {"relocations": 500_000}}  # ten loads there, a hundred on ppc64le


def counts(file: ModuleFile) -> dict[str, int]:
    """How many of what costs time a module has."""
    return {
        "objects to patch": sum(map(is_module_name, klp_target_names(file))),
        "functions to patch": sum(len(obj.funcs) for obj in file.klp.objects) if file.klp else 0,
        "livepatch relocations": count_sites(file),
        "undefined symbols": int((file.symtab["shndx"] == SHN_UNDEF).sum()),
        "relocations": _relocations(file),
    }


def check_size(file: ModuleFile, *targets: ModuleFile) -> None:
    """Errors: KlpteachError, before the work, for modules of which more would have to be played than MOST.

    targets: what is played with it; all relocations together have the limit of one module.
    """
    limits = MOST | MOST_ON.get(file.arch, {})
    counted = [(one.filename, counts(one)) for one in (file, *targets)]
    for name, found in counted:
        for what, number in found.items():
            if number > limits[what]:
                most = f"klpteach plays {limits[what]} at most. The kernel has no such limit."
                raise KlpteachError(f"{name}: {number} {what}, {most}")
    together = sum(found["relocations"] for _, found in counted)
    if together > limits["relocations"]:
        most = f"klpteach plays {limits['relocations']} at most. Try fewer targets at a time."
        raise KlpteachError(f"{file.filename} and its targets: {together} relocations, {most}")


def _relocations(file: ModuleFile) -> int:
    """How many the loader writes: those of debug sections stay in the file."""
    flags, infos = file.shdrs["flags"], file.shdrs["info"]
    sections = (index for index in file.rela_sections if infos[index] < len(flags) and flags[infos[index]] & SHF_ALLOC)
    return sum(file.extents[index][2] // RELA.itemsize for index in sections)
