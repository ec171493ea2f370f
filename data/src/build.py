#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Rebuild data/ko from the sources beside this file: headers from Debian packages, kbuild, strip, klp_convert.

Nothing is installed. For a kernel of Debian 13 the compiler, too, is unpacked (room.py). Packages are fetched with apt-get download into a cache folder ($KLPTEACH_CACHE, default
~/.cache/klpteach), unpacked there with dpkg -x, and used from there. Remove the folder to fetch newer ones.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SRC = Path(__file__).resolve().parent
ROOT = SRC.parents[1]
sys.path.insert(0, str(ROOT))

import room  # noqa: E402  (the repository need not be installed)
from klpteach.errors import KlpteachError  # noqa: E402
from klpteach.files.home import user_folder  # noqa: E402
from klpteach.files.write import klp_convert  # noqa: E402


@dataclass(frozen=True)
class Target:
    """One folder of data/ko: which header package it needs, and how to call make and strip for it."""

    headers: str  # regular expression of the package name; the newest match is taken. "": a kernel that was built here
    room: bool = False  # whether it is built in a room of the distribution that the kernel is from
    cross: str = ""  # prefix of the binutils, such as powerpc64le-linux-gnu-
    make_args: tuple[str, ...] = ()
    sources: str = ""  # folder with more sources, which go before those here
    flags: str = ""  # for the compiler
    variants: tuple[str, ...] = ()  # of MORE_VARIANTS, besides those of all


PPC64LE, ARM64, S390X = "powerpc64le-linux-gnu-", "aarch64-linux-gnu-", "s390x-linux-gnu-"
TARGETS = {
    "x86_64-6.1": Target(r"linux-headers-6\.1\.0-[0-9]+-amd64"),
    "x86_64-6.12": Target(r"linux-headers-6\.12\.[0-9]+\+deb12-amd64"),
    "x86_64-7.3": Target(r"linux-headers-7\.3\.[0-9]+\+deb13-amd64", room=True),
    # built small here: struct module has another layout than Debian's
    **dict.fromkeys(("x86_64-6.1-small", "x86_64-6.12-small"), Target("", flags="-DDEMO_ABSENT ")),
    **dict.fromkeys(
        ("ppc64le-6.1", "ppc64le-6.12", "ppc64le-7.3"),
        Target(
            "",
            cross=PPC64LE,
            make_args=("ARCH=powerpc", f"CROSS_COMPILE={PPC64LE}"),
            sources="ppc64le",
            flags="-DDEMO_ABSENT ",
        ),
    ),
    "arm64-7.3": Target(
        "",
        cross=ARM64,
        make_args=("ARCH=arm64", f"CROSS_COMPILE={ARM64}"),
        sources="arm64",
        variants=("nfsd_demo_far",),
    ),  # fmt: skip
    **dict.fromkeys(
        ("s390x-6.1", "s390x-6.12", "s390x-7.3"),
        Target("", cross=S390X, make_args=("ARCH=s390", f"CROSS_COMPILE={S390X}"), sources="s390x"),
    ),
}

# The same module name four times more; kbuild wants a directory for each.
VARIANTS = {
    "nfsd_demo_failinit": "-DDEMO_FAILINIT",
    "nfsd_demo_pad16k": "-DDEMO_PAD16K",
    "nfsd_demo_pad300k": "-DDEMO_PAD300K",
    "nfsd_demo_v2": "-DDEMO_V2",
}
MORE_VARIANTS = {"nfsd_demo_far": "-DDEMO_PAD_TEXT"}  # code without end: too far away for a branch


def run(*words: str | Path, cwd: Path | None = None) -> str:
    """Output of a command; on failure its last lines, and the end."""
    command = [str(word) for word in words]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, env=environment | {"LC_ALL": "C"})
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        sys.exit(f"{tail}\nbuild.py: failed: {' '.join(command)}")
    return done.stdout


def check_tools(**more: str) -> None:
    """Name what is missing before anything is downloaded. more: further tools, with their packages."""
    packages = {"make": "make", "gcc-12": "gcc-12", "strip": "binutils", "apt-get": "apt", "dpkg": "dpkg"} | more
    missing = [package for tool, package in packages.items() if not shutil.which(tool)]
    if missing:
        sys.exit(f"build.py: missing tools. Try: apt-get install {' '.join(missing)}")


def fetch_headers(target: Target, folder: Path) -> None:
    """Download and unpack the newest matching header package and the two packages that it leans on."""
    names = re.findall(f"^({target.headers}) ", run("apt-cache", "search", "--names-only", "^linux-headers-6"), re.M)
    if not names:
        sys.exit(
            f"build.py: apt knows no package {target.headers}. Try: apt-get update (Debian 12, with its security suite)"
        )
    newest = max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    depends = re.findall(r"Depends: (linux-headers-\S+-common|linux-kbuild-\S+)", run("apt-cache", "depends", newest))
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    print(f"downloading {' '.join([newest, *depends])}", flush=True)
    run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", newest, *depends, cwd=part)
    for deb in sorted(part.glob("*.deb")):
        run("dpkg", "-x", str(deb), str(part))
        deb.unlink()
    # The only absolute path in these packages; everything else is found by relative links.
    (makefile,) = part.glob("usr/src/linux-headers-*/.kernelvariables")
    makefile = makefile.with_name("Makefile")
    makefile.write_text(makefile.read_text().replace("/usr/src/", "$(dir $(lastword $(MAKEFILE_LIST)))../"))
    part.rename(folder)


def find_headers(name: str, cache: Path) -> Path:
    if TARGETS[name].room:
        return room.headers(name, TARGETS[name].headers)
    if not TARGETS[name].headers:
        from klpteach.vm.build import build_tree  # builds a kernel where there is none: ten minutes

        return build_tree(*name.split("-")[:2])
    folder = cache / "headers" / name.replace(".", "_")  # a dot would look like a suffix
    if not folder.exists():
        fetch_headers(TARGETS[name], folder)
    (variables,) = folder.glob("usr/src/linux-headers-*/.kernelvariables")
    return variables.parent


def kbuild(target: Target, headers: Path, work: Path, variant: str) -> None:
    """Run kbuild once over a copy of the sources."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for folder in dict.fromkeys((SRC, SRC / target.sources)):
        for source in [*folder.glob("*.[ch]"), folder / "Kbuild"]:
            shutil.copy(source, work)
    make(target, headers, work, target.flags, f"NFSD_DEMO_VARIANT={variant}")


def make(target: Target, headers: Path, work: Path, flags: str, *more: str) -> None:
    """kbuild's own part: every module that the Kbuild file in work names."""
    enter, headers, work = room.entered(headers, work)
    run(
        *(*enter, "make", "-C", headers, f"M={work}", *target.make_args, *more),
        "KBUILD_MODPOST_WARN=1",  # symbols of the target are undefined until klp_convert
        "CONFIG_DEBUG_INFO_BTF_MODULES=",  # would want a vmlinux
        "CONFIG_DEBUG_INFO=",  # else the build-id depends on where we build
        f"KCFLAGS={flags}-ffile-prefix-map={work}/= -ffile-prefix-map={headers.parent}/=",
        "modules",
    )


def strip(target: Target, headers: Path, ko: Path) -> None:
    """Take out what only a debugger reads, with the binutils that go with the compiler."""
    enter, _, folder = room.entered(headers, ko.parent)
    run(*enter, f"{target.cross}strip", "--strip-debug", folder / ko.name)


def build(name: str, headers: Path, work: Path, out: Path) -> None:
    """All modules of one target, finished, in out."""
    target = TARGETS[name]
    raw: dict[str, Path] = {}
    more = {variant: MORE_VARIANTS[variant] for variant in target.variants}
    for variant, flags in {"": "", **VARIANTS, **more}.items():
        folder = work / (variant or "main")
        kbuild(target, headers, folder, flags)
        raw |= {variant or ko.stem: ko for ko in folder.glob("*.ko")}
    out.mkdir(parents=True, exist_ok=True)
    for stem, ko in sorted(raw.items()):
        strip(target, headers, ko)  # before klp_convert: strip would spoil SHN_LIVEPATCH
        data = klp_convert(ko.read_bytes())
        (out / f"{stem}.ko").write_bytes(data)
        print(f"{name}/{stem}.ko  {len(data)} bytes", flush=True)


def cache_dir() -> Path:
    cache = os.environ.get("KLPTEACH_CACHE")
    return (Path(cache) if cache else user_folder("XDG_CACHE_HOME", ".cache") / "klpteach").expanduser().resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    packaged = [name for name, target in TARGETS.items() if target.headers and not target.room]
    parser.add_argument(
        "target", nargs="*", default=packaged, help=f"of {' '.join(TARGETS)}; default: {' '.join(packaged)}"
    )
    parser.add_argument("--headers", type=Path, help="a kernel build tree to use instead of packages (one target only)")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "ko", help="default: data/ko")
    parser.add_argument(
        "--check", action="store_true", help="build elsewhere and compare with --out; exit 1 if they differ"
    )
    args = parser.parse_args()
    if unknown := set(args.target) - set(TARGETS):
        parser.error(f"unknown target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if not args.headers and not all(TARGETS[name].room for name in args.target):
        check_tools()
    cache, different = cache_dir(), []
    with tempfile.TemporaryDirectory(prefix="klpteach-") as scratch:
        for name in args.target:
            headers = args.headers.resolve() if args.headers else find_headers(name, cache)
            print(f"building {name} with {headers.name}", flush=True)
            out = Path(scratch, "ko", name) if args.check else args.out / name
            build(name, headers, Path(scratch, "build", name), out)
            if args.check:
                different += [ko.name for ko in out.iterdir() if not same(ko, args.out / name / ko.name)]
    if different:
        sys.exit(f"build.py: not the same bytes: {' '.join(sorted(different))}. Other compiler or header packages?")


def same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    try:
        main()
    except KlpteachError as error:
        sys.exit(f"build.py: {error}")
