"""Small pseries kernels with CONFIG_LIVEPATCH, built from Debian's sources: unmodified (stock) and in the variants of
variants.py. Nothing is installed, no kernel source is kept in the repository.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import host
from .fetch import check_package
from .host import HostError, cache_dir, need, need_room
from .qemu import GuestKernel
from .variants import VARIANTS, edited

CROSS = "powerpc64le-linux-gnu-"
# What is on beyond allnoconfig. VSX and FUTEX are for the C library of the agent, DYNAMIC_DEBUG for the placement lines.
OPTIONS = [
    "EXPERT", "PPC64", "PPC_BOOK3S_64", "PPC_PSERIES", "CPU_LITTLE_ENDIAN", "ALTIVEC", "VSX", "SMP", "PPC_64K_PAGES",
    "PPC_RADIX_MMU", "PPC_RADIX_MMU_DEFAULT", "PPC_OF_BOOT_TRAMPOLINE", "MODULES", "MODULE_UNLOAD", "KALLSYMS",
    "KALLSYMS_ALL", "FTRACE", "FUNCTION_TRACER", "DYNAMIC_FTRACE", "LIVEPATCH", "STRICT_KERNEL_RWX",
    "STRICT_MODULE_RWX", "PRINTK", "PRINTK_TIME", "BUG", "DEBUG_BUGVERBOSE", "DYNAMIC_DEBUG", "PROC_FS", "PROC_KCORE",
    "SYSFS", "DEVTMPFS", "BLK_DEV_INITRD", "BINFMT_ELF", "TTY", "HVC_CONSOLE", "FUTEX", "POSIX_TIMERS", "MULTIUSER",
]  # fmt: skip
OFF = ("PPC_POWERNV",)
_MAKE = ("ARCH=powerpc", f"CROSS_COMPILE={CROSS}", "KBUILD_BUILD_USER=klpteach", "KBUILD_BUILD_HOST=klpteach",
         "KBUILD_BUILD_TIMESTAMP=2019-06-25", "KBUILD_BUILD_VERSION=1")  # fmt: skip


def build_kernel(release: str, variant: str = "stock", say: Callable[[str], None] = print) -> GuestKernel:
    """A kernel from the cache, or built: about 10 minutes for the first of a release, half a minute for a variant.

    Errors: HostError for an unknown variant, without compiler, apt or network, on a full disk, or when make fails.
    """
    if (release, variant) not in VARIANTS:
        known = ", ".join(map("-".join, VARIANTS))
        raise HostError(f"no ppc64le kernel {release}-{variant}; there are {known}.")
    folder = cache_dir() / "kernels" / f"ppc64le-{release}-{variant}"
    kernel = GuestKernel("ppc64le", release, variant, folder / "vmlinux", folder / "config")
    if kernel.image.exists():
        return kernel
    need("make", f"{CROSS}gcc", "flex", "bison", "bc")
    with locked(f"linux-source-{release}"):
        tree = _unpacked(release, say)
        say(f"building ppc64le {release} {variant} …")
        with _patched(tree, edited(tree, VARIANTS[release, variant])):
            _make(tree, "vmlinux", "modules_prepare")
        shutil.copy(tree / "vmlinux.symvers", tree / "Module.symvers")
        _keep(tree, folder)
    return kernel


def build_tree(release: str, say: Callable[[str], None] = print) -> Path:
    """The source tree in which modules for a release can be built. Errors: as build_kernel()."""
    tree = source_folder(release)
    if not (tree / "Module.symvers").exists():
        with locked(f"linux-source-{release}-first"):
            shutil.rmtree(cache_dir() / "kernels" / f"ppc64le-{release}-stock", ignore_errors=True)
            build_kernel(release, "stock", say)
    return tree


def source_folder(release: str) -> Path:
    """Where the kernel source of a release is, once it has been unpacked."""
    return cache_dir() / "src" / f"linux-source-{release}"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time."""
    with (cache_dir() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpacked(release: str, say: Callable[[str], None]) -> Path:
    """The source package, downloaded, unpacked and configured."""
    tree = source_folder(release)
    if not tree.exists():
        need("apt-get", "dpkg-deb", "tar", "xz")
        tree.parent.mkdir(parents=True, exist_ok=True)
        need_room(tree.parent, 4000)
        say(f"downloading linux-source-{release} (140 MB) …")
        with tempfile.TemporaryDirectory(prefix="part-", dir=tree.parent) as scratch:
            part = Path(scratch)
            name = f"^linux-source-{re.escape(release)}$"  # without ^ and $ apt takes linux-source-6.12 for 6.1
            host.run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name, cwd=part, timeout=900)
            deb = next(part.glob("*.deb"))
            check_package(deb)
            unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr/src'
            host.run("sh", "-c", unpack, "sh", deb, part, timeout=900)
            host.run("tar", "-xf", next(part.glob("usr/src/*.tar.*")), "-C", part, timeout=900)
            (part / tree.name).rename(tree)
    wanted = tree / "klpteach.config"
    text = "".join([f"CONFIG_{o}=y\n" for o in OPTIONS] + [f"# CONFIG_{o} is not set\n" for o in OFF])
    if not wanted.exists() or wanted.read_text() != text:
        wanted.write_text(text)
        _make(tree, f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
        on = set(re.findall(r"^CONFIG_(\w+)=y$", (tree / ".config").read_text(), re.M))
        if missing := [option for option in OPTIONS if option not in on]:
            raise HostError(f"linux-source-{release} cannot be configured with {', '.join(missing)}.")
    return tree


def _make(tree: Path, *targets: str) -> None:
    host.run("make", "-C", tree, f"-j{(os.cpu_count() or 1) + 1}", *_MAKE, *targets, timeout=7200)


@contextmanager
def _patched(tree: Path, texts: Mapping[str, str]) -> Iterator[None]:
    """The tree with some files changed, and as it was afterwards."""
    before = {path: (tree / path).read_text() for path in texts}
    try:
        for path, text in texts.items():
            (tree / path).write_text(text)
        yield
    finally:
        for path, text in before.items():
            (tree / path).write_text(text)


def _keep(tree: Path, folder: Path) -> None:
    """Copy what booting needs; complete, or not there at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
    host.run(f"{CROSS}strip", "-o", part / "vmlinux", tree / "vmlinux")
    for name in ("Module.symvers", "System.map"):
        shutil.copy(tree / name, part / name)
    shutil.copy(tree / ".config", part / "config")
    part.rename(folder)
