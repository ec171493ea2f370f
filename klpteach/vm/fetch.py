"""Kernels of Debian 12, and of Debian 13's backports, fetched with apt-get download and unpacked into the cache.

Nothing is installed. A kernel of 7.3 is in three packages: its image in linux-binary-*, its config in linux-base-*, its
modules in linux-modules-*. Here all are kept as one package of Debian 12 has them.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..files.module_file import ModuleFile
from .apt import apt_for, sha256, version
from .host import HostError, cache_dir, need, need_room, run
from .qemu import GuestKernel

PACKAGE = {
    "6.1": r"linux-image-6\.1\.0-[0-9]+-amd64",
    "6.12": r"linux-image-6\.12\.[0-9]+\+deb12-amd64",
    "7.3": r"linux-binary-7\.3\.[0-9]+\+deb13-amd64",
}
WHOLE, SPLIT = "linux-image-", "linux-binary-"  # what the name of a package begins with


def fetch(release: str, variant: str = "stock") -> GuestKernel:
    """The newest kernel of a series, from the cache or from the distribution.

    A kernel that is kept is checked each time, against the sha256 that it had when it was unpacked.
    Errors: HostError for an unknown release or another variant, without apt or network, on a full disk, or a changed kernel.
    """
    if release not in PACKAGE or variant != "stock":
        raise HostError(f"no kernel {release!r} ({variant}) to fetch; there are {', '.join(PACKAGE)}.")
    parent = cache_dir() / "kernels" / f"x86_64-{release}"
    if not _images(parent):
        _download(release, parent)
    image = _images(parent)[-1]
    if sha256(image) != _sum_of(image).read_text().strip():
        why = "is not the kernel that was fetched: its sha256 is another"
        raise HostError(f"{image.name} {why}. Try: rm -r {image.parents[1]}, and it is fetched anew")
    return GuestKernel("x86_64", release, variant, image, image.with_name(image.name.replace("vmlinuz", "config", 1)))


def _images(parent: Path) -> list[Path]:
    """The kernels that are kept with their sha256, the newest last."""
    kept = (path for path in parent.glob("*/boot/vmlinuz-*") if _sum_of(path).exists())
    return sorted(kept, key=lambda path: version(path.name))


def _sum_of(image: Path) -> Path:
    return image.parents[1] / "SHA256"


def _download(release: str, parent: Path) -> None:
    need("apt-get", "dpkg-deb", "tar")
    apt = apt_for(release)
    package = apt.newest(PACKAGE[release])
    parent.mkdir(parents=True, exist_ok=True)
    need_room(parent, 400)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=parent))
    try:
        for name in _packages(package):
            deb = apt.download(name, part)
            folder = "./boot" if package.startswith(WHOLE) else "./usr/lib/modules"
            run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" "$3"', "sh", deb, part, folder)
            deb.unlink()
        _as_one_package(part)
        image = next(part.glob("boot/vmlinuz-*"))
        (part / "SHA256").write_text(f"{sha256(image)}\n")
        if not (parent / package / "SHA256").exists():  # one whose sha256 was not kept goes
            shutil.rmtree(parent / package, ignore_errors=True)
        part.rename(parent / package)  # complete, or not there at all
    except OSError as error:
        if not (parent / package / "boot").is_dir():  # else somebody else was faster
            raise HostError(f"{package} could not be unpacked ({error.strerror}).") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _packages(package: str) -> list[str]:
    """The packages that a kernel and its config are in."""
    return [package, package.replace(SPLIT, "linux-base-")] if package.startswith(SPLIT) else [package]


def _as_one_package(part: Path) -> None:
    """boot/vmlinuz-VERSION and boot/config-VERSION, wherever the packages have them."""
    (part / "boot").mkdir(exist_ok=True)
    for name in ("vmlinuz", "config"):
        for path in part.glob(f"usr/lib/modules/*/{name}"):
            path.rename(part / "boot" / f"{name}-{path.parent.name}")
    shutil.rmtree(part / "usr", ignore_errors=True)


def debian_modules(kernel: GuestKernel, names: Iterable[str]) -> dict[str, ModuleFile]:
    """Modules of Debian's package of a kernel by name, from the cache or from the distribution.

    The package stays in the cache (70 MB), since the next target needs others. Errors: HostError.
    """
    package = kernel.image.parent.parent
    if kernel.arch != "x86_64" or kernel.variant != "stock" or not package.name.startswith((WHOLE, SPLIT)):
        raise HostError(f"there is no package of modules for {kernel.arch} {kernel.release} {kernel.variant}.")
    folder = package / "modules"
    missing = {name for name in names if not (folder / f"{name}.ko").exists()}
    if missing:
        folder.mkdir(exist_ok=True)
        _unpack(_package(package, kernel.release), missing, folder)
    lost = sorted(name for name in missing if not (folder / f"{name}.ko").exists())
    if lost:
        raise HostError(f"{package.name} has no module {', '.join(lost)}.")
    return {name: ModuleFile.open(folder / f"{name}.ko") for name in names}


def _package(folder: Path, release: str) -> Path:
    kept = folder / "package.deb"
    if not kept.exists():
        need_room(folder, 200)
        with tempfile.TemporaryDirectory(prefix="part-", dir=folder) as part:
            where = Path(part)
            apt_for(release).download(folder.name.replace(SPLIT, "linux-modules-"), where).rename(kept)
    return kept


def _unpack(package: Path, names: set[str], folder: Path) -> None:
    """Write the modules of these names as NAME.ko, whatever their compression: a module file says itself what it is."""
    need("dpkg-deb")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    stem, ko, _ = Path(member.name).name.partition(".ko")
                    name = stem.replace("-", "_")
                    stream = archive.extractfile(member) if ko and member.isfile() and name in names else None
                    if stream:
                        part = folder / f".{name}"
                        part.write_bytes(stream.read())
                        part.rename(folder / f"{name}.ko")
        except (tarfile.TarError, OSError) as error:
            raise HostError(f"{package.parent.name}: its package cannot be unpacked ({error}).") from None
        finally:
            process.kill()
