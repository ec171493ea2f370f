"""The transcripts of s390x kernels in ../shared, read and played in the model: their own form, klp-reload-transcript/1-s390.

What a transcript tells is taken from it: where modules landed, what the kernel's own symbols are. Everything else must come
out the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from klpteach.files.elf_h import SHN_UNDEF, SHT_NOBITS
from klpteach.files.klp import parse_symbol
from klpteach.files.module_file import ModuleFile
from klpteach.files.relocation_types import type_names
from klpteach.files.write import ElfImage, klp_convert
from klpteach.model import arch
from klpteach.model.kernel import Kernel
from klpteach.model.layout import layout_sections
from klpteach.model.policy import behaviour, kernel_of
from klpteach.model.step import Step

KERNELS = {  # variant of a transcript -> release, variant of ours
    "stock": ("6.1", "stock"), "rewrite": ("6.1", "rewrite"), "v612": ("6.12", "stock"), "v612clear": ("6.12", "clear-got"),
}  # fmt: skip
TARGETS = ("nfsd_demo", "other")
_STAMP = re.compile(r"\[ *\d+\.\d+\] ")


def converted(folder: Path, name: str) -> bytes:
    """The livepatch NAME.ko: every symbol that it does not define and nfsd_demo does becomes nfsd_demo's, by name.

    The position is 0 for a global symbol, 1 for a local one.
    """
    data = (folder / f"{name}.ko").read_bytes()
    image, target = ElfImage.parse(data), ElfImage.parse((folder / "nfsd_demo.ko").read_bytes())
    local: dict[str, bool] = {}
    for symbol in target.symbols:
        if symbol.name and symbol.shndx not in (SHN_UNDEF, 0xFFF1):
            local.setdefault(symbol.name, symbol.info >> 4 == 0)
    for index, symbol in enumerate(image.symbols):
        if index and symbol.shndx == SHN_UNDEF and symbol.name in local and name not in TARGETS:
            raw = f".klp.sym.rela.nfsd_demo.nfsd_demo.{symbol.name},{local[symbol.name]:d}"
            image.symbols[index] = replace(symbol, name=raw)
    return klp_convert(image.to_bytes()) if name not in TARGETS else data


def grown(data: bytes, sections: dict[str, Any]) -> bytes:
    """The module as it was built for 6.12: its code is the same, but struct module and a few tables are longer there."""
    image = ElfImage.parse(data)
    for number, section in enumerate(image.sections):
        size = sections.get(section.name, {}).get("size", 0)
        if section.type == SHT_NOBITS or not size:
            continue
        more = size - len(section.body)
        assert more >= 0
        if section.name == ".data":  # a word more in front of what was there
            section.body[:0] = bytes(more)
            rows = enumerate(image.symbols)
            moved = {i: replace(symbol, value=symbol.value + more) for i, symbol in rows if symbol.shndx == number}
            image.symbols = [moved.get(i, symbol) for i, symbol in enumerate(image.symbols)]
        else:
            section.body += bytes(more)
    return image.to_bytes()


@dataclass
class Transcript:
    """One transcript and the modules that it was made with."""

    path: Path
    ko: Path

    @cached_property
    def raw(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    @property
    def kernel(self) -> tuple[str, str]:
        return KERNELS[self.raw["variant"]]

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """Its steps; what is null in one is as in the one before."""
        last: dict[str, Any] = {}
        for step in self.raw["steps"]:
            for key in ("symbols", "sections"):
                step[key] = last[key] = last.get(key) if step[key] is None else step[key]
        return list(self.raw["steps"])

    @cached_property
    def files(self) -> dict[str, ModuleFile]:
        """Module -> file. For 6.1 the very bytes that were loaded, as the sha256 shows."""
        found = {}
        for name, about in self.raw["files"].items():
            data = converted(self.ko, name)
            if self.kernel[0] == "6.1":
                assert hashlib.sha256(data).hexdigest() == about["sha256"], f"{self.path.name}: {name}"
            else:
                data = grown(data, about["sections"])
            found[name] = ModuleFile(data, f"{name}.ko")
        return found

    def exports(self) -> dict[str, int]:
        """The kernel's own symbols: the ordinary slots of the livepatches tell."""
        rows = (row for step in self.steps for table in step["plt"].values() for row in table)
        return {row["symbol"]: int(row["target"], 16) for row in rows if not row["symbol"].startswith((".klp", "lp_"))}

    def bases(self, file: ModuleFile, step: dict[str, Any]) -> dict[str, int]:
        """Where the module that this step loads was put, as far as the step tells."""
        rules = behaviour(self.kernel[0], arch="s390x")
        places, separate = layout_sections(file, arch.of("s390x"), rules).places, rules.separate_memory
        found = {}
        for index, (region, offset) in places.items():
            at = step["sections"].get(file.name, {}).get(file.section_names[index])
            if at:
                found[region] = int(at, 16) - offset
        for row in step["modules"]:
            if row["name"] == file.name:
                return found | {"text" if separate else "core": int(row["addr"], 16)}
        return dict(self._looked_up(file, step, places))  # it went again: its livepatch has looked its symbols up

    def _looked_up(self, file: ModuleFile, step: dict[str, Any], places: Any) -> Iterator[tuple[str, int]]:
        for rows in step["symbols"].values():
            for label, (address, _) in rows.items():
                symbol = parse_symbol(label)
                if symbol and symbol.object == file.name and int(address, 16):
                    index = file.symbol_names.index(symbol.name)
                    region, offset = places[int(file.symtab["shndx"][index])]
                    yield region, int(address, 16) - offset - int(file.symtab["value"][index])

    def play(self) -> Iterator[tuple[dict[str, Any], Step, Kernel]]:
        """Each step of the transcript, and what the model did."""
        release, variant = self.kernel
        rules = kernel_of(release, (variant,), "s390x")
        kernel = Kernel("s390x", release, ko=self.ko, rules=rules, exports=self.exports(),
                        open_file=lambda _, name: self.files[name.rpartition("/")[2].removesuffix(".ko")])  # fmt: skip
        for step in self.steps:
            command = step["cmd"].replace("/m/", "")
            if not command.startswith(("insmod", "rmmod")):
                yield step, kernel.step(command), kernel
                continue
            if command.startswith("insmod"):
                file = self.files[command.split()[1].removesuffix(".ko")]
                kernel.placement = {file.name: self.bases(file, step)}
                kernel.init_errno[file.filename] = -19 if "nd_fail=1" in command else 0
            yield step, kernel.run(command), kernel

    def differences(self) -> Iterator[str]:
        """Every field that both have and in which they differ."""
        for step, ours, kernel in self.play():
            for what, mine, theirs in _compared(step, ours, kernel):
                if mine != theirs:
                    yield f"{self.path.name} step {step['n']} ({step['cmd']}): {what}: {mine} != {theirs}"


def _compared(step: dict[str, Any], ours: Step, kernel: Kernel) -> Iterator[tuple[str, Any, Any]]:
    said = re.search(r"error (-\d+)", " ".join(step["out"]))
    yield "errno", ours.errno, int(said[1]) if said else 0 if not step["rc"] else None
    yield "dmesg", ours.lines, [_STAMP.sub("", line) for line in step["dmesg"]]
    rows = {row["name"]: row for row in ours.modules or ()}
    for row in step["modules"]:
        mine = rows.pop(row["name"], {})
        yield f"module {row['name']}", [mine.get(key) for key in ("size", "refcount", "state", "base", "taint")], [
            row["size"], row["refs"], row["state"], int(row["addr"], 16), row["taint"].strip("()"),
        ]  # fmt: skip
    yield "more modules", list(rows), []
    for patch, seen in step["livepatch"].items():
        about = (ours.livepatch or {})[patch]
        patched = about["objects"]["nfsd_demo"]["patched"]
        yield f"livepatch {patch}", [about["enabled"], about["transition"], patched], [int(seen[k]) for k in seen]
    for module, table in step["sections"].items():
        for name, at in table.items():
            yield f"section {module}:{name}", (ours.sections or {})[module].get(name), int(at, 16)
    for module, names in step["symbols"].items():
        found = {(name, kind): address for address, kind, name in (ours.symbols or {}).get(module, ())}
        for name, (at, kind) in names.items():
            yield f"symbol {module}:{name}", found.get((name, kind)), int(at, 16)
    types = {name: number for number, name in type_names(22).items()}
    for row in step["sites"]:
        key = f"{row['module']}:{row['section']}+{row['offset']:#x}"
        assert row["type"] in types
        yield f"site {key}", (ours.sites or {}).get(key, b"").hex(), row["bytes"]
    yield from _slots(step, kernel)


def _slots(step: dict[str, Any], kernel: Kernel) -> Iterator[tuple[str, Any, Any]]:
    """The bytes of every slot of the GOT and the PLT, by its place in the module."""
    for module in step["got"]:
        mod = kernel.find_module(module)
        memory = bytes(mod.image.memory["core" if "core" in mod.image.memory else "text"]) if mod else b""
        for row in step["got"][module]:
            at = row["offset"]
            yield f"GOT {module} {row['symbol']}", memory[at : at + 8].hex(), f"{int(row['value'], 16):016x}"
        for row in step["plt"][module]:
            at = row["offset"]
            theirs = row["code"] + f"{int(row['target'], 16):016x}"
            yield f"PLT {module} {row['symbol']}", memory[at : at + 22].hex(), theirs
