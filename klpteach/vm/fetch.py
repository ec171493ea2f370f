"""Kernels of Debian 12, fetched with apt-get download and unpacked into the cache; nothing is installed."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from .host import HostError, cache_dir, need, need_room, run
from .qemu import GuestKernel

PACKAGE = {"6.1": r"linux-image-6\.1\.0-[0-9]+-amd64", "6.12": r"linux-image-6\.12\.[0-9]+\+deb12-amd64"}


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
    if _sha256(image) != _sum_of(image).read_text().strip():
        why = "is not the kernel that was fetched: its sha256 is another"
        raise HostError(f"{image.name} {why}. Try: rm -r {image.parents[1]}, and it is fetched anew")
    return GuestKernel("x86_64", release, variant, image, image.with_name(image.name.replace("vmlinuz", "config", 1)))


def _images(parent: Path) -> list[Path]:
    """The kernels that are kept with their sha256, the newest last."""
    kept = (path for path in parent.glob("*/boot/vmlinuz-*") if _sum_of(path).exists())
    return sorted(kept, key=lambda path: _version(path.name))


def _sum_of(image: Path) -> Path:
    return image.parents[1] / "SHA256"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_package(deb: Path) -> None:
    """A fetched package against apt's list, which the distribution has signed. Errors: HostError where it is another."""
    said = run("apt-cache", "show", deb.name.partition("_")[0])
    if _sha256(deb) not in re.findall(r"^SHA256: ([0-9a-f]{64})$", said, re.M):
        raise HostError(f"{deb.name} has another sha256 than apt's list says; it is not used. Try: apt-get update")


def _version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _download(release: str, parent: Path) -> None:
    need("apt-get", "dpkg-deb", "tar")
    names = re.findall(rf"^({PACKAGE[release]}) ", run("apt-cache", "search", "--names-only", "^linux-image-6"), re.M)
    if not names:
        raise HostError(f"apt knows no kernel {release}. Try: apt-get update (Debian 12 with its security suite)")
    package = max(names, key=_version)
    parent.mkdir(parents=True, exist_ok=True)
    need_room(parent, 400)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=parent))
    try:
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=part, timeout=600)
        deb = next(part.glob("*.deb"))
        check_package(deb)
        run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./boot', "sh", deb, part)
        deb.unlink()
        image = next(part.glob("boot/vmlinuz-*"))
        (part / "SHA256").write_text(f"{_sha256(image)}\n")
        if not (parent / package / "SHA256").exists():  # one whose sha256 was not kept goes
            shutil.rmtree(parent / package, ignore_errors=True)
        part.rename(parent / package)  # complete, or not there at all
    except OSError as error:
        if not (parent / package / "boot").is_dir():  # else somebody else was faster
            raise HostError(f"{package} could not be unpacked ({error.strerror}).") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
