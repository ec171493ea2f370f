#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the sample livepatches that the real tools make: kpatch's create-diff-object and create-klp-module, objtool klp.

The targets are compiled before and after by_tools/*.patch, a function and a variable a section; the tools find out what
has changed; a hook of ours makes a struct klp_patch of their tables when the module is loaded. data/README.md says where
the tools come from.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import build
from build import ROOT, SRC, TARGETS, run

from klpteach.errors import KlpteachError

FORMS = SRC / "by_tools"
SECTIONS = "-ffunction-sections -fdata-sections "  # what both tools compile with
UNITS = {"nfsd_demo": ("nfsd_demo_main", "nfsd_demo_dup"), "acl_demo": ("acl_demo",)}  # module: its translation units
ORC = "ORC_STRUCT_SIZE=6"  # sizeof(struct orc_entry), which kpatch-build reads from the kernel's debug information
OBJECTS = "obj-m := nfsd_demo.o acl_demo.o\nnfsd_demo-y := nfsd_demo_main.o nfsd_demo_dup.o\n"


@dataclass(frozen=True)
class Trees:
    """The targets, compiled with a section a function: before and after the patches."""

    before: Path
    after: Path
    symvers: Path  # who exports what: the kernel, and these modules


@dataclass(frozen=True)
class Maker:
    """What makes one form of livepatch: the changed objects of the modules, as files to link; and the last step."""

    hook: str
    changed: Callable[[Trees, Sequence[str], str, Path], list[Path]]  # (trees, modules, the livepatch's name, folder)
    finish: Callable[[Path, Path], None]  # (linked and stripped module, finished one)
    trees: tuple[str, ...]  # settings for kbuild when it compiles the targets
    module: tuple[str, ...]  # and when it links the livepatch


# -- the tools ------------------------------------------------------------------------------------------------------------


def kpatch(folder_of_tools: Path) -> Maker:
    """kpatch's two programs, called as kpatch-build calls them. They work on translation units."""

    def changed(trees: Trees, modules: Sequence[str], name: str, folder: Path) -> list[Path]:
        found = []
        for module in modules:
            symtab = folder / f"{module}.symtab"
            symtab.write_text(run("readelf", "--wide", "-s", trees.before / f"{module}.ko"))
            for unit in UNITS[module]:
                out = folder / f"{unit}.diff.o"
                objects = [tree / f"{unit}.o" for tree in (trees.before, trees.after)]
                run("env", ORC, folder_of_tools / "create-diff-object", "--klp-arch", *objects, *(module, symtab, trees.symvers, name, out))
                found.append(out)
        return found

    def finish(linked: Path, out: Path) -> None:
        run(folder_of_tools / "create-klp-module", "--no-klp-arch-sections", linked, out)

    # With IBT, kbuild runs objtool over whole modules only, and create-diff-object, which works on units, finds nothing
    # of what it makes. kpatch-build refuses such a kernel.
    no_ibt = ("CONFIG_X86_KERNEL_IBT=",)
    return Maker("kpatch_hook", changed, finish, trees=no_ibt, module=no_ibt)


def klp_build(objtool: Path) -> Maker:
    """objtool's klp commands, called as klp-build calls them. They work on the objects of whole modules."""

    def changed(trees: Trees, modules: Sequence[str], name: str, folder: Path) -> list[Path]:
        for tree in (trees.before, trees.after):
            (folder / tree.name).mkdir()
            for module in modules:
                copy = shutil.copy(tree / f"{module}.o", folder / tree.name)
                run(objtool, "klp", "checksum", copy)
        shutil.copy(trees.symvers, folder / trees.before.name / "Module.symvers")
        found = []
        for module in modules:
            out = folder / f"{module}.diff.o"
            after = folder / trees.after.name / f"{module}.o"
            run(objtool, "klp", "diff", f"{module}.o", after, out, cwd=folder / trees.before.name)
            found.append(out)
        return found

    def finish(linked: Path, out: Path) -> None:
        shutil.copy(linked, out)
        run(objtool, "klp", "post-link", out)

    # klp diff leaves what objtool makes (.return_sites, .orc_unwind …) to kbuild's own run of it over the whole livepatch,
    # which there is with IBT only; and 6.12's objtool would make __pfx_ symbols twice.
    return Maker("klp_build_hook", changed, finish, trees=(), module=("CONFIG_X86_KERNEL_IBT=y", "CONFIG_PREFIX_SYMBOLS="))


# -- kbuild ---------------------------------------------------------------------------------------------------------------


Make = Callable[[Path, str], None]  # (folder with a Kbuild, more flags for the compiler)


def kbuild(name: str, headers: Path, settings: Sequence[str]) -> Make:
    return lambda work, flags: build.make(TARGETS[name], headers, work, flags, *settings)


def compiled(make: Make, work: Path, flags: str = "", patches: Sequence[str] = ()) -> Path:
    """The targets of one tree, compiled: all of the sources, patched where there are patches."""
    work.mkdir(parents=True)
    for source in SRC.glob("*.[ch]"):
        shutil.copy(source, work)
    for patch in patches:
        run("patch", "-p1", "--silent", "-i", FORMS / patch, cwd=work)
    (work / "Kbuild").write_text(OBJECTS)
    make(work, flags)
    return work


def livepatch(make: Make, strip: Callable[[Path], None], name: str, maker: Maker, trees: Trees, modules: Sequence[str], work: Path) -> Path:
    """One livepatch, finished."""
    work.mkdir(parents=True)
    diff, module = work / "diff", work / "module"
    diff.mkdir()
    module.mkdir()
    parts = maker.changed(trees, modules, name, diff)
    for part in parts:
        for made in (part.name, f"{part.name}_shipped"):  # what kbuild calls an object that it need not make
            shutil.copy(part, module / made)
        (module / f".{part.name}.cmd").touch()  # modpost wants one
    for suffix in (".c", ".lds"):
        shutil.copy(FORMS / f"{maker.hook}{suffix}", module)
    objects = " ".join([f"{maker.hook}.o", *(part.name for part in parts)])
    (module / "Kbuild").write_text(f"obj-m := {name}.o\n{name}-y := {objects}\nldflags-y := -T $(src)/{maker.hook}.lds\n")
    make(module, "")
    linked = module / f"{name}.ko"
    strip(linked)  # before the last step: it would spoil SHN_LIVEPATCH
    maker.finish(linked, work / linked.name)
    return work / linked.name


# -- the samples ----------------------------------------------------------------------------------------------------------

SAMPLES = {"": ("nfsd_demo",), "_two": ("nfsd_demo", "acl_demo")}  # ending of the name: the modules that are patched


def build_all(name: str, headers: Path, makers: dict[str, Maker], work: Path, out: Path) -> None:
    """Every sample of one folder of data/ko."""
    out.mkdir(parents=True, exist_ok=True)
    patches = sorted(path.name for path in FORMS.glob("*.patch"))
    for form, maker in makers.items():
        make = kbuild(name, headers, maker.trees)
        before = compiled(make, work / form / "before", SECTIONS)
        after = compiled(make, work / form / "after", SECTIONS, patches)
        symvers = work / form / "Module.symvers"
        symvers.write_text("".join((tree / "Module.symvers").read_text() for tree in (before, headers)))
        make = kbuild(name, headers, maker.module)
        for ending, modules in SAMPLES.items():
            stem = f"livepatch_{form}{ending}"
            strip = partial(build.strip, TARGETS[name], headers)
            made = livepatch(make, strip, stem, maker, Trees(before, after, symvers), modules, work / form / stem)
            shutil.copy(made, out)
            print(f"{name}/{made.name}  {made.stat().st_size} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", nargs="*", default=["x86_64-6.1", "x86_64-6.12"], help="default: both of Debian 12")
    parser.add_argument("--kpatch", type=Path, metavar="DIR", help="folder of create-diff-object and create-klp-module")
    parser.add_argument("--objtool", type=Path, metavar="FILE", help="an objtool that knows klp diff and klp post-link")
    parser.add_argument("--headers", type=Path, help="a kernel build tree to use instead of packages (one target only)")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "ko", help="default: data/ko")
    parser.add_argument("--check", action="store_true", help="build elsewhere and compare; exit 1 if they differ")
    args = parser.parse_args()
    makers = {"kpatch": kpatch(args.kpatch.resolve())} if args.kpatch else {}
    makers |= {"klp_build": klp_build(args.objtool.resolve())} if args.objtool else {}
    if not makers:
        parser.error("name --kpatch, --objtool, or both: data/README.md says where they come from")
    if not args.headers and not all(TARGETS[name].room for name in args.target):
        build.check_tools(patch="patch")
    different: list[str] = []
    with tempfile.TemporaryDirectory(prefix="klpteach-") as scratch:
        for name in args.target:
            headers = args.headers.resolve() if args.headers else build.find_headers(name, build.cache_dir())
            out = Path(scratch, "ko", name) if args.check else args.out / name
            build_all(name, headers, makers, Path(scratch, name), out)
            if args.check:
                different += [ko.name for ko in out.iterdir() if not build.same(ko, args.out / name / ko.name)]
    if different:
        sys.exit(f"by_tools.py: not the same bytes: {' '.join(sorted(different))}. Other compiler or packages?")


if __name__ == "__main__":
    try:
        main()
    except KlpteachError as error:
        sys.exit(f"by_tools.py: {error}")
