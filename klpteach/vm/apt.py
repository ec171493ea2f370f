"""Debian's packages, downloaded and checked; nothing is installed.

A release that this machine's own distribution does not have comes from another suite of the same mirror, read with lists of
our own in the cache.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .host import HostError, cache_dir, need, run

SUITE: Mapping[str, tuple[str, ...]] = {"7.3": ("trixie", "trixie-backports")}
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Apt:
    """apt with its options: those of the machine, or with the lists of other suites."""

    options: tuple[str, ...] = ()

    def newest(self, pattern: str) -> str:
        """The name of the newest package that a regular expression matches. Errors: HostError where there is none."""
        need("apt-get")
        literal = "^" + re.split(r"[\[\\(]", pattern)[0]
        names = re.findall(rf"^({pattern}) ", self._cache("search", "--names-only", literal), re.M)
        if not names:
            raise HostError(f"apt knows no package {pattern}. Try: apt-get update (Debian 12 with its security suite)")
        return str(max(names, key=version))

    def depends(self, package: str) -> str:
        """What apt says that a package needs: a line each, `Depends: NAME` for what it must have."""
        return self._cache("depends", package)

    def download(self, package: str, into: Path) -> Path:
        """The package as a file in a folder, the same that the distribution's signed list names. Errors: HostError."""
        need("apt-get", "dpkg-deb")
        before = set(into.glob("*.deb"))
        name = f"^{re.escape(package)}$"  # without ^ and $ apt takes linux-source-6.12 for 6.1
        words = ("-qq", "-o", "APT::Sandbox::User=root", *self.options, "download", name)
        run("apt-get", *words, cwd=into, timeout=900)
        (deb,) = set(into.glob("*.deb")) - before
        self.check(deb)
        return deb

    def check(self, deb: Path) -> None:
        """A fetched package against apt's list, which the distribution has signed. Errors: HostError where it is another."""
        said = self._cache("show", deb.name.partition("_")[0].replace("%3a", ":"))
        if sha256(deb) not in re.findall(r"^SHA256: ([0-9a-f]{64})$", said, re.M):
            raise HostError(f"{deb.name} has another sha256 than apt's list says; it is not used. Try: apt-get update")

    def _cache(self, *words: str) -> str:
        return run("apt-cache", *self.options, *words)


def apt_for(release: str, architecture: str = "") -> Apt:
    """apt where a release is: the machine's own, or that of another suite, whose lists are fetched at the first use.

    architecture: Debian's name of a foreign one. Errors: HostError without apt, network or the distribution's keys.
    """
    suites = SUITE.get(release, ())
    if not suites and not architecture:
        return Apt()
    need("apt-get")
    folder = cache_dir() / "apt" / "-".join((*suites, architecture or "own"))
    state, sources = folder / "lists", folder / "sources.list"
    options = (
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::Lists={state}"),
        *(
            "-o",
            f"Dir::Cache::pkgcache={folder}/pkgcache.bin",
            "-o",
            f"Dir::Cache::srcpkgcache={folder}/srcpkgcache.bin",
        ),
        *(
            ("-o", f"APT::Architecture={architecture}", "-o", f"APT::Architectures={architecture}")
            if architecture
            else ()
        ),
    )
    if not (folder / "done").exists():
        if not KEYS.exists():
            raise HostError(f"the kernels of {release} come from Debian, whose keys are not here. Try: apt-get install "
                            "debian-archive-keyring")  # fmt: skip
        state.mkdir(parents=True, exist_ok=True)
        sources.write_text("".join(f"deb [signed-by={KEYS}] {mirror()} {suite} main\n" for suite in suites))
        run("apt-get", "-qq", *options, "-o", "APT::Sandbox::User=root", "update", timeout=600)
        (folder / "done").touch()
    return Apt(options)


def mirror() -> str:
    """The address from which this machine takes Debian's packages."""
    said = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages")
    found = re.findall(r"^Debian (\S+/debian/?)$", said, re.M)
    if not found:
        raise HostError("this machine's apt knows no mirror of Debian. Try: apt-get update")
    return str(found[0])


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version(name: str) -> list[int]:
    """The numbers in a name, by which the newest is found.

    >>> version("linux-image-6.1.0-56-amd64")
    [6, 1, 0, 56, 64]
    """
    return [int(number) for number in re.findall(r"\d+", name)]
