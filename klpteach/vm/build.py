"""Small kernels with CONFIG_LIVEPATCH, built from Debian's sources by recipes.py: unmodified and in the variants of
variants/. Nothing is installed, no kernel source is kept in the repository.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import host
from .apt import apt_for
from .host import HostError, cache_dir, need, need_room
from .qemu import GuestKernel
from .recipes import RECIPES, Recipe
from .variants import VARIANTS, edited


def build_kernel(arch: str, release: str, variant: str, say: Callable[[str], None] = print) -> GuestKernel:
    """A kernel from the cache, or built: 3 to 10 minutes for the first of a release, 10 seconds to a minute for a variant.

    Errors: HostError for an unknown variant, without compiler, apt or network, on a full disk, or when make fails.
    """
    variants = VARIANTS.get(arch, {})
    if (release, variant) not in variants:
        known = ", ".join(map("-".join, variants))
        raise HostError(f"no {arch} kernel {release}-{variant}; there are {known}.")
    folder, recipe = cache_dir() / "kernels" / f"{arch}-{release}-{variant}", RECIPES[arch]
    kernel = GuestKernel(arch, release, variant, folder / Path(recipe.image).name, folder / "config")
    if kernel.image.exists():
        return kernel
    need(*recipe.programs)
    with locked(f"linux-source-{release}"):
        if not kernel.image.exists():  # while this one waited another may have built it
            tree = configured(arch, release, say)
            say(f"building {arch} {release} {variant} …")
            with patched(release, edited(source_folder(release), variants[release, variant])):
                make(recipe, tree, Path(recipe.image).name, "modules_prepare")
            shutil.copy(tree / "vmlinux.symvers", tree / "Module.symvers")
            keep(recipe, tree, folder)
    return kernel


def build_tree(arch: str, release: str, say: Callable[[str], None] = print) -> Path:
    """The folder in which modules for a release can be built. Errors: as build_kernel()."""
    tree = build_folder(arch, release)
    if not (tree / "Module.symvers").exists():
        with locked(f"{tree.name}-first"):
            first = next(variant for known, variant in VARIANTS[arch] if known == release)
            shutil.rmtree(cache_dir() / "kernels" / f"{arch}-{release}-{first}", ignore_errors=True)
            build_kernel(arch, release, first, say)
    return tree


def source_folder(release: str) -> Path:
    """Where the kernel source of a release is, once it has been unpacked; no architecture builds in it."""
    return cache_dir() / "source" / f"linux-source-{release}"


def build_folder(arch: str, release: str) -> Path:
    """Where the objects of an architecture and release are made."""
    return cache_dir() / "build" / f"{arch}-{release}"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time."""
    import fcntl  # not on Windows, where the rest of the package works

    with (cache_dir() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unpack_source(release: str, say: Callable[[str], None] = print) -> Path:
    """The kernel's source as Debian ships it, downloaded and unpacked once. Errors: HostError."""
    tree = source_folder(release)
    if not tree.exists():
        need("apt-get", "dpkg-deb", "tar", "xz")
        tree.parent.mkdir(parents=True, exist_ok=True)
        need_room(tree.parent, 4000)
        say(f"downloading linux-source-{release} (140 MB) …")
        with tempfile.TemporaryDirectory(prefix="part-", dir=tree.parent) as scratch:
            part = Path(scratch)
            deb = apt_for(release).download(f"linux-source-{release}", part)
            unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr/src'
            host.run("sh", "-c", unpack, "sh", deb, part, timeout=900)
            host.run("tar", "-xf", next(part.glob("usr/src/*.tar.*")), "-C", part, timeout=900)
            (part / tree.name).rename(tree)
    return tree


def configured(arch: str, release: str, say: Callable[[str], None]) -> Path:
    """The build folder of an architecture, with its configuration."""
    recipe, tree = RECIPES[arch], build_folder(arch, release)
    if " " in str(tree) or ":" in str(tree):
        raise HostError(f"the kernel's make cannot work in {tree}: no space, no colon. Try: KLPTEACH_CACHE=some/folder")
    source = unpack_source(release, say)
    tree.mkdir(parents=True, exist_ok=True)
    wanted = tree / "klpteach.config"
    if not wanted.exists() or wanted.read_text() != recipe.config or not (tree / ".config").exists():
        wanted.write_text(recipe.config)
        make(recipe, source, f"O={tree}", f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
        on = set(re.findall(r"^CONFIG_(\w+)=y$", (tree / ".config").read_text(), re.M))
        if missing := [option for option in recipe.on if option not in on]:
            wanted.unlink()
            raise HostError(f"linux-source-{release} cannot be configured for {arch} with {', '.join(missing)}.")
    return tree


def make(recipe: Recipe, tree: Path, *targets: str) -> None:
    host.run(*make_words(recipe, tree, *targets), timeout=7200)


def make_words(recipe: Recipe, tree: Path, *targets: str) -> list[str]:
    """The command that builds in a folder."""
    return ["make", "-C", str(tree), f"-j{(os.cpu_count() or 1) + 1}", *recipe.make, *targets]


@contextmanager
def patched(release: str, texts: Mapping[str, str]) -> Iterator[None]:
    """The source of a release with some files changed or new, and as it was afterwards; its lock must be held.

    What the files were is put aside first: where somebody ends this in the middle, the next one begins by putting them back.
    """
    tree, aside = source_folder(release), cache_dir() / "source" / f"aside-{release}"
    put_back(tree, aside)
    part = aside.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for path in texts:
        (part / path).parent.mkdir(parents=True, exist_ok=True)
        if (tree / path).exists():
            shutil.copyfile(tree / path, part / path)
        else:
            (part / f"{path}{_NEW}").touch()
    part.mkdir(parents=True, exist_ok=True)
    part.rename(aside)
    try:
        with _ended_in_order():
            for path, text in texts.items():
                (tree / path).write_text(text)
            yield
    finally:
        put_back(tree, aside)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends this as Ctrl-C does: what is put back must be so before the lock is given up and another one builds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_NEW = ".was-not-there"


def put_back(tree: Path, aside: Path) -> None:
    """Give the tree the files that were put aside, with a new date: make builds them again."""
    for file in [file for file in aside.rglob("*") if file.is_file()]:
        path = tree / file.relative_to(aside)
        if path.name.endswith(_NEW):
            path.with_name(path.name.removesuffix(_NEW)).unlink(missing_ok=True)
        else:
            shutil.copyfile(file, path)
    shutil.rmtree(aside, ignore_errors=True)


def keep(recipe: Recipe, tree: Path, folder: Path) -> None:
    """Copy what booting needs; complete, or not there at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
    host.run(f"{recipe.cross}strip", "-o", part / "vmlinux", tree / "vmlinux")
    if recipe.image != "vmlinux":
        shutil.copy(tree / recipe.image, part / Path(recipe.image).name)
    for name in ("Module.symvers", "System.map"):
        shutil.copy(tree / name, part / name)
    shutil.copy(tree / ".config", part / "config")
    part.rename(folder)
