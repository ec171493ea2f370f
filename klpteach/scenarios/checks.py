"""What can be checked of a livepatch and its targets before they are shipped, by their files alone.

The kernel finds some of it only when both are loaded, and some never: an object that no module can have the name of is waited
for without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import printable
from ..files.elf_h import SHN_LIVEPATCH, SHN_UNDEF, STB_WEAK, THIS_MODULE
from ..files.klp import livepatch_sections, parse_symbol, section_object, waiting_sites, zero_sites
from ..files.klp_patch import BY_HAND, BY_NAMES
from ..files.module_file import ModuleFile
from ..model import arch as architectures
from ..model import messages
from ..model.kallsyms import kept_symbols, symbols_by_name
from ..model.loader import GPL_COMPATIBLE, calls_klp_enable_patch

Place = tuple[int, int]  # section, offset
CALL_SITES = ("__mcount_loc", "__patchable_function_entries")  # the second on ppc64le since 6.8
ENTRY = 32  # bytes of a function in which the call of ftrace stands, as in klp_get_ftrace_location()
MANY = 8  # names in a sentence


class Check(NamedTuple):
    """One thing that was looked at. ok: None for what is no fault, but should be known."""

    ok: bool | None
    about: str
    says: str

    @property
    def sign(self) -> str:
        return {True: "✓", False: "✗", None: "·"}[self.ok]

    def __str__(self) -> str:
        return printable(f"{self.sign} {self.about}: {self.says}", keep="")


def checks(livepatch: ModuleFile, targets: Mapping[str, ModuleFile], helpers: Iterable[str]) -> list[Check]:
    """Everything about a livepatch and the targets that are at hand; helpers: modules whose symbols it takes besides.

    >>> from klpteach.files.samples import sample
    >>> patch, target = (ModuleFile.open(sample(f"{name}.ko")) for name in ("livepatch_nfsd_demo", "nfsd_demo"))
    >>> all(check.ok for check in checks(patch, {"nfsd_demo": target}, []))
    True
    """
    objects = [obj.name for obj in livepatch.klp.objects if obj.name] if livepatch.klp else []
    found = [
        *_of_livepatch(livepatch),
        *_unfinished(livepatch),
        *(check for file in (livepatch, *targets.values()) for check in _two_names(file)),
        *_names(livepatch, objects, targets),
        *_not_given(livepatch, {*objects, *targets}),
    ]
    for name, file in targets.items():
        if name in objects or name in helpers:
            found += _pair(livepatch, file)
        else:
            found.append(Check(False, name, f"{file.filename} was given, and {livepatch.name} does not patch it"))
        if name in objects:
            found += _removal(livepatch, file)
    return found


# -- of the livepatch alone -----------------------------------------------------------------------------------------------


def is_unmarked(file: ModuleFile) -> bool:
    """Whether a file is a livepatch in all but its mark, livepatch=Y in .modinfo."""
    if file.is_livepatch:
        return False
    symbols = file.symtab["shndx"] == SHN_LIVEPATCH
    return calls_klp_enable_patch(file) or bool(livepatch_sections(file)) or bool(symbols.any())


def _mark(livepatch: ModuleFile) -> Iterator[Check]:
    """Without the mark klp_enable_patch() refuses a module; without a GPL licence the loader does not give it that."""
    calls, name = calls_klp_enable_patch(livepatch), livepatch.name
    if is_unmarked(livepatch):
        line = messages.NOT_A_LIVEPATCH(module=name).render()
        fails = f': its load fails with EINVAL (-22), "{line}"' if calls else ""
        says = f'livepatch=Y is missing in its .modinfo{fails}. Its source wants MODULE_INFO(livepatch, "Y")'
        yield Check(False, name, says)
    license_ = livepatch.modinfo.get("license", "unspecified")
    if calls and license_ not in GPL_COMPATIBLE:
        line = messages.UNKNOWN_SYMBOL(module=name, name="klp_enable_patch", err=-2).render()
        says = f'its licence is {license_ or "empty"}, klp_enable_patch() is for GPL modules only: its load fails with "{line}"'
        yield Check(False, name, says)


def _of_livepatch(livepatch: ModuleFile) -> Iterator[Check]:
    info = livepatch.klp
    yield from _mark(livepatch)
    if info and info.form == BY_NAMES:
        says = (
            "which functions it patches, and whether it replaces, cannot be seen: no table of a tool that is known here"
        )
        yield Check(None, livepatch.name, f"{says}. The verdict is about its relocations only")
    if info and not calls_klp_enable_patch(livepatch):
        yield Check(False, livepatch.name, "does not call klp_enable_patch(): the kernel patches nothing")


def _unfinished(livepatch: ModuleFile) -> Iterator[Check]:
    """What the last step of a build (objtool, klp-convert, kpatch) was to mark, and has not."""
    undefined = (livepatch.symtab["shndx"] == SHN_UNDEF) & (livepatch.symtab["info"] >> 4 != STB_WEAK)
    names = [livepatch.symbol_names[index] for index in undefined.nonzero()[0].tolist()]
    unmarked = [name for name in names if name.startswith(".klp.sym.")]
    if unmarked:
        # simplify_symbols() comes before any relocation, so no line of livepatch is ever printed
        line = messages.UNKNOWN_SYMBOL(module=livepatch.name, name=unmarked[0], err=-2).render()
        are = "livepatch symbol is" if len(unmarked) == 1 else "livepatch symbols are"
        fails = f'whatever is loaded, its load fails with ENOENT (-2), "{line}"'
        yield Check(False, livepatch.name, f"{len(unmarked)} {are} SHN_UNDEF, not SHN_LIVEPATCH: {fails}")
    for index, entries in zero_sites(livepatch).items():
        section, number = livepatch.section_names[index], len(entries)
        they, them = ("1 relocation is", "it") if number == 1 else (f"{number} relocations are", "them")
        why = "is not flagged SHF_RELA_LIVEPATCH"
        if section_object(section) is None:
            first = livepatch.symbol_names[int(livepatch.rela(index)["sym"][entries[0]])]
            why = f"is no livepatch section, and {first} is marked SHN_LIVEPATCH"
        once = f"{they} applied once, at its load, with 0 for the symbol; livepatch never writes {them}"
        yield Check(False, livepatch.name, f"{section} {why}: {once}")


def _two_names(file: ModuleFile) -> Iterator[Check]:
    if file.modinfo.get("name", file.name) != file.name:
        says = f".modinfo says name={file.modinfo['name']}, but the kernel takes the name in struct module, {file.name}"
        yield Check(None, file.name, says)


def _names(livepatch: ModuleFile, objects: list[str], targets: Mapping[str, ModuleFile]) -> Iterator[Check]:
    for name in objects:
        meant = name.removesuffix(".ko").replace("-", "_").replace(",", "_").rpartition("/")[2]
        if meant != name:
            given = ", the name of the target that was given" if meant in targets else ""
            says = f"no module has this name, so it is never patched, and no line says so. Meant is {meant}{given}"
            yield Check(False, name, says)
    waiting = {section_object(livepatch.section_names[index]) for index in livepatch_sections(livepatch)}
    for name in sorted(filter(None, waiting - {"vmlinux", *objects, *(name.partition(".")[0] for name in objects)})):
        yield Check(
            False, name, f"relocations wait for it, but {livepatch.name} does not patch it: they are never written"
        )
    for name in [name for name in objects if name in livepatch.modinfo.get("depends", "").split(",")]:
        yield Check(
            None, name, f"{livepatch.name} uses its exports: it cannot be removed while the livepatch is loaded"
        )


def _not_given(livepatch: ModuleFile, known: set[str]) -> Iterator[Check]:
    """Modules whose symbols it takes and that nobody has given: a stand-in would have any symbol."""
    taken = {symbol for site in waiting_sites(livepatch) if (symbol := parse_symbol(site.symbol))}
    for name, number in sorted(Counter(symbol.object for symbol in taken).items()):
        if name != "vmlinux" and name not in known:
            are = "1 symbol is" if number == 1 else f"{number} symbols are"
            yield Check(None, name, f"{are} taken from it, not checked; give its file, too: --target {name}.ko")


# -- beside a target ------------------------------------------------------------------------------------------------------


def _pair(livepatch: ModuleFile, target: ModuleFile) -> Iterator[Check]:
    """What must agree, or be there, in a module that the livepatch patches or takes symbols from."""
    if livepatch.machine != target.machine:
        yield Check(False, target.name, f"is made for {target.arch}, the livepatch for {livepatch.arch}")
        return
    yield from _vermagic(livepatch, target)
    yield from _struct_module(livepatch, target)
    yield from _functions(livepatch, target)
    yield from _symbols(livepatch, target)


def _vermagic(livepatch: ModuleFile, target: ModuleFile) -> Iterator[Check]:
    """same_magic(): of a file with CRCs the kernel does not compare the first word, its release."""
    ours, theirs = (file.modinfo.get("vermagic", "").strip() for file in (livepatch, target))
    if ours == theirs:
        yield Check(True, target.name, f"vermagic is the livepatch's: {ours or 'none'}")
        return
    what = "one kernel does not load both"
    with_crcs = all(file.section_index("__versions") is not None for file in (livepatch, target))
    if with_crcs and ours.partition(" ")[2] == theirs.partition(" ")[2]:
        what = "built for another build; with modversions the kernel compares the symbols' CRCs only"
    yield Check(False, target.name, f"vermagic is '{theirs}', the livepatch's '{ours}': {what}")


def struct_module(file: ModuleFile) -> tuple[int, dict[str, int]]:
    """sizeof(struct module) that a file was built with, and the offsets of its init and exit.

    >>> from klpteach.files.samples import sample
    >>> struct_module(ModuleFile.open(sample("nfsd_demo.ko")))
    (896, {'init_module': 312, 'cleanup_module': 848})
    """
    index = file.section_index(THIS_MODULE)
    if index is None:
        return 0, {}
    found: dict[str, int] = {}
    for rela in file.rela_sections:
        if int(file.shdrs["info"][rela]) == index:
            found |= {file.symbol_names[symbol]: offset for offset, _, symbol, _ in file.rela(rela).tolist()}
    return file.extents[index][2], {name: found[name] for name in ("init_module", "cleanup_module") if name in found}


def _struct_module(livepatch: ModuleFile, target: ModuleFile) -> Iterator[Check]:
    (ours, our_places), (theirs, their_places) = struct_module(livepatch), struct_module(target)
    apart = [name for name in our_places.keys() & their_places.keys() if our_places[name] != their_places[name]]
    if ours == theirs and not apart:
        yield Check(
            True, target.name, f"struct module is the livepatch's: {ours} bytes, init and exit at the same places"
        )
        return
    where = "".join(f", {name} at {our_places[name]:#x} and {their_places[name]:#x}" for name in sorted(apart))
    says = f"struct module is another ({ours} bytes in the livepatch, {theirs} in the target{where})"
    yield Check(False, target.name, f"{says}: one of them was built with other headers or another config")


def _functions(livepatch: ModuleFile, target: ModuleFile) -> Iterator[Check]:
    info = livepatch.klp
    funcs = [func for obj in (info.objects if info else ()) if obj.name == target.name for func in obj.funcs]
    traced, bad = call_sites(target), 0
    for func in funcs:
        places = symbol_places(target, func.old_name)
        fault = _position(target, func.old_name, func.old_sympos, len(places))
        place = places[max(func.old_sympos, 1) - 1] if not fault else (0, 0)
        if not fault and not any((place[0], place[1] + at) in traced for at in range(ENTRY)):
            fault = f"{func.old_name} cannot be traced (no call of ftrace at its start), so it cannot be patched"
        if fault:
            bad += 1
            yield Check(False, target.name, fault)
    if funcs and not bad:
        are = "the patched function is there and can be traced"
        if len(funcs) > 1:
            are = f"{len(funcs)} patched functions are there and can be traced"
        yield Check(True, target.name, are)


def _symbols(livepatch: ModuleFile, target: ModuleFile) -> Iterator[Check]:
    wanted = {site.symbol: parse_symbol(site.symbol) for site in waiting_sites(livepatch)}
    mine = [symbol for symbol in wanted.values() if symbol and symbol.object == target.name]
    faults = [_position(target, s.name, s.sympos, len(symbol_places(target, s.name))) for s in mine]
    yield from (Check(False, target.name, fault) for fault in faults if fault)
    if mine and not any(faults):
        are = "symbol is" if len(mine) == 1 else "symbols are"
        yield Check(True, target.name, f"{len(mine)} livepatch {are} there, at the positions that are asked for")


def _position(target: ModuleFile, name: str, sympos: int, there: int) -> str:
    """What klp_find_object_symbol() would say of a name and a position where so many of the name are there; "" if nothing."""
    if not there:
        return f"{target.filename} has no symbol {name}"
    if sympos == 0 and there > 1:
        return f"{name} is there {there} times, and the livepatch does not say which (position 0)"
    if sympos > there:
        return f"{name} is there {there} time{'s' if there > 1 else ''}, and the livepatch asks for number {sympos}"
    return ""


def symbol_places(file: ModuleFile, name: str) -> list[Place]:
    """(section, offset) of every symbol of a name that kallsyms keeps of a loaded module, in its order."""
    kept, symtab = kept_symbols(file, architectures.of(file.arch)), file.symtab
    found = (i for i in symbols_by_name(file).get(name, ()) if i in kept and symtab["shndx"][i] != SHN_UNDEF)
    return [(int(symtab["shndx"][i]), int(symtab["value"][i])) for i in found]


def call_sites(file: ModuleFile) -> set[Place]:
    """(section, offset) of every call that ftrace can take over."""
    names, found = file.section_names, set[Place]()
    for rela in file.rela_sections:
        target = int(file.shdrs["info"][rela])
        if target < len(names) and names[target] in CALL_SITES:
            entries = file.rela(rela)
            symbols = file.symtab[entries["sym"]]
            offsets = (symbols["value"] + entries["addend"].astype("u8")).tolist()
            found |= set(zip(symbols["shndx"].tolist(), offsets, strict=True))
    return found


def _removal(livepatch: ModuleFile, target: ModuleFile) -> Iterator[Check]:
    names = symbols_by_name(target)
    if "init_module" in names and "cleanup_module" not in names:
        says = "has an init and no exit function: rmmod answers EBUSY (-16), so it comes back after a boot only"
        yield Check(None, target.name, says)


# -- who is who -----------------------------------------------------------------------------------------------------------


def build_id(file: ModuleFile) -> str:
    """The build id of the linker (.note.gnu.build-id) in hex; "" where there is none."""
    index = file.section_index(".note.gnu.build-id")
    note = file.section_bytes(index) if index is not None else b""
    name, size = (int.from_bytes(note[at : at + 4], "little") for at in (0, 4))
    start = 12 + (name + 3 & ~3)
    return note[start : start + min(size, 64)].hex()


def identity(file: ModuleFile) -> dict[str, str]:
    """What tells one build of a module from another."""
    info = file.modinfo
    return {
        "file": file.filename,
        "name": file.name,
        "arch": file.arch,
        "vermagic": info.get("vermagic", "").strip(),
        "srcversion": info.get("srcversion", ""),
        "build_id": build_id(file),
    }


def made_by(livepatch: ModuleFile) -> dict[str, Any]:
    """Who built a livepatch, whether it replaces older ones, and its callbacks; None for what cannot be seen."""
    info = livepatch.klp
    if info is None:
        return {"form": None, "replace": None, "replace_assumed": False, "callbacks": []}
    seen = info.form != BY_NAMES
    called = [f"{kind} of {obj.name or 'vmlinux'}" for obj in info.objects for kind in obj.callbacks]
    return {
        "form": info.form,
        "replace": info.replace if seen else None,
        "replace_assumed": info.form not in (BY_HAND, BY_NAMES),
        "callbacks": called,
    }
