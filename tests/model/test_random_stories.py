"""Random stories, and what must be true of the model after every step of every one of them, whatever was asked.

KLPTEACH_STORIES says how many (make fuzz: 5,000); KLPTEACH_FIRST_STORY is the seed of the first.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from itertools import pairwise

import pytest
from random_stories import story

from klpteach import Kernel, ModuleFile, ScenarioError
from klpteach.files.elf_h import SHN_ABS, SHN_UNDEF
from klpteach.files.klp import KlpSymbol, parse_symbol, placed_sites, sites
from klpteach.files.relocation_types import MASK64
from klpteach.model.errno import errno_name
from klpteach.model.kallsyms import symbols_by_name
from klpteach.model.policy import available, possible
from klpteach.reading.history import History
from klpteach.reading.verdict import verdict
from klpteach.views.explorer.map_svg import alt_text

FIRST, STORIES = int(os.environ.get("KLPTEACH_FIRST_STORY", "0")), int(os.environ.get("KLPTEACH_STORIES", "40"))
BATCH = 20
KERNELS = [("x86_64", release) for release in ("5.3", "6.1", "6.3", "6.12")] + [
    ("ppc64le", release) for release in ("6.1", "6.12")
]


def told(seed: int) -> Kernel:
    """A kernel of this seed, with a mix of proposals that go together, after its story."""
    chance = random.Random(seed)
    arch, release = chance.choice(KERNELS)
    mix = chance.sample(available(arch), chance.choice([0, 0, 1, 1, 2]))
    kernel = Kernel(arch, release, mix if possible(mix, arch) else [])
    for line in story(chance, kernel):
        try:
            kernel.run(line)
        except ScenarioError:
            assert kernel.wrecked or "nothing like it" in line, line
            break
        memory_is_in_order(kernel)
        nobody_is_remembered_that_is_gone(kernel)
        live_sites_hold_their_sum(kernel)
        cleared_sites_are_as_in_the_file(kernel)
    return kernel


def memory_is_in_order(kernel: Kernel) -> None:
    for before, after in pairwise(kernel.memory):
        assert before.end + kernel.arch.page <= after.start
    owned = [region for mod in kernel.modules for region in mod.regions]
    assert sorted(map(id, owned)) == sorted(id(region) for region in kernel.memory if region.kind != "fill")
    assert all(kernel.memory.start <= region.start and region.end <= kernel.memory.end for region in kernel.memory)


def nobody_is_remembered_that_is_gone(kernel: Kernel) -> None:
    if kernel.wrecked:
        return
    assert len({mod.name for mod in kernel.modules}) == len(kernel.modules)
    gone = kernel.rules.coming_error_clears_mod  # before 5.4 obj->mod could point to freed memory: patch 1/2 of the RFC
    for patch in kernel.klp.patches:
        assert patch.mod in kernel.modules
        for obj in patch.objects:
            assert obj.mod is None or obj.mod in kernel.modules or not gone, f"{patch.name}: {obj.label} is gone"
    for mod in kernel.modules:
        assert all(other in kernel.modules for other in [*mod.holders, *mod.uses])
        assert mod.references >= 0
    live = [func for patch in kernel.klp.patches for obj in patch.objects for func in obj.funcs if func.patched]
    stacked = [func for stack in kernel.klp.func_stacks.values() for func in stack]
    assert set(map(id, stacked)) == set(map(id, live))


def live_sites_hold_their_sum(kernel: Kernel) -> None:
    """What a livepatch has for a target that it patches is S + A or S + A - P of this load, by the section headers' addresses."""
    step = kernel.recording[-1]
    for patch in kernel.klp.patches if not kernel.wrecked else ():
        patched = {obj.name: obj.mod for obj in patch.objects if obj.mod and obj.patched}
        for site in sites(patch.mod.file.on_disk):
            howto = kernel.arch.relocation_types.get(site.type)
            mod, symbol = patched.get(site.object), parse_symbol(site.symbol)
            place = step.sections[patch.name].get(site.section)
            if (
                mod is None
                or symbol is None
                or symbol.object != site.object
                or howto is None
                or place is None
                or "r2" in howto.formula
                or howto.mask != MASK64
            ):
                continue
            S = address_of(step.sections[mod.name], mod.file.on_disk, symbol)
            now = step.sites.get(f"{patch.name}:{site.key}")
            if S is not None and now is not None:
                wanted = howto.value(S, site.addend, place + site.offset) & (1 << 8 * howto.width) - 1
                assert int.from_bytes(now[: howto.width], "little") == wanted, (patch.name, site)


def address_of(sections: Mapping[str, int], file: ModuleFile, symbol: KlpSymbol) -> int | None:
    """Where a symbol of a module is; None for one in a section that was freed or has no address (per CPU)."""
    defined = [
        i for i in symbols_by_name(file).get(symbol.name, ()) if file.symtab["shndx"][i] not in (SHN_UNDEF, SHN_ABS)
    ]
    entry = file.symtab[defined[max(symbol.sympos, 1) - 1]]
    start = sections.get(file.section_names[int(entry["shndx"])])
    return None if start is None else start + int(entry["value"])


def cleared_sites_are_as_in_the_file(kernel: Kernel) -> None:
    """Where a release or a proposal takes back what was written, the sites for a module that was removed are as on disk."""
    step = kernel.recording[-1]
    if kernel.rules.clear == "no" or step.did.verb != "rmmod" or step.errno:
        return
    for patch in kernel.klp.patches:
        file = patch.mod.file.on_disk
        if "+nonzero" in file.filename:
            continue  # no check, and the clearing writes zeros where the damaged file has something else
        for section, site in placed_sites(file):
            now = step.sites.get(f"{patch.name}:{site.key}")
            if site.object == step.did.what and now is not None:
                assert now == file.section_bytes(section)[site.offset : site.offset + len(now)], (patch.name, site)


def the_views_agree(kernel: Kernel) -> None:
    """The verdict on each step says what its errno says, and the words for the picture name no address that was not seen."""
    history = History(kernel.recording)
    seen: set[int] = set()
    for index, step in enumerate(kernel.recording):
        judged = verdict(kernel.recording, index, history)
        assert (judged.kind == "oops") == step.oops
        if step.errno and step.did.verb != "cat":
            assert errno_name(step.errno) in judged.headline, (step.command, str(judged))
        if step.errno == 0:
            assert judged.kind not in ("refused", "in-use", "exists", "oops"), (step.command, str(judged))
        seen |= {row["base"] for row in step.modules or ()}
        seen |= {
            address
            for table in (step.placement, step.sections)
            for row in (table or {}).values()
            for address in row.values()
        }
        seen |= {load.base for load in history.loads if load.first <= index and load.from_val and load.base is not None}
    named = {int(word, 16) for word in re.findall("0x[0-9a-f]{16}", alt_text(history, len(kernel.recording) - 1))}
    assert named <= seen, [hex(address) for address in named - seen]


@pytest.mark.parametrize("first", range(FIRST, FIRST + STORIES, BATCH))
def test_whatever_is_asked_the_kernel_stays_in_order_and_the_views_say_what_happened(first: int) -> None:
    wrong = []
    for seed in range(first, min(first + BATCH, FIRST + STORIES)):
        kernel = None
        try:
            kernel = told(seed)
            the_views_agree(kernel)
        except Exception as error:
            where = error.__traceback__
            while where and where.tb_next:
                where = where.tb_next
            line = f"{where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where else ""
            wrong.append(f"story {seed}: {type(error).__name__} in {line}: {error}".split("\n")[0])
    assert not wrong, "\n".join(wrong)
