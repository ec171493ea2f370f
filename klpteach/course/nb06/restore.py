"""What notebook 06 shows of calls on ppc64le: the word behind each call before and after a load, and who refuses it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

from ...errors import KlpteachError
from ...files import klp
from ...files.module_file import ModuleFile
from ...files.relocation_types import NOP, REL24
from ...files.samples import sample
from ...model.kernel import Kernel
from ...model.recording import Recording
from ...model.step import Step
from ...reading.calls import words_of
from ...reading.history import History
from ...scenarios.scenario import GONE, TARGET, Scenario
from ...scenarios.simulate import simulate
from ..ds_form import DSForm

PPC, LIVEPATCH = "ppc64le", "livepatch_nfsd_demo"
BRANCH = 0x48000001  # `bl .` as it stands in the file
LIVEPATCHES = (LIVEPATCH, "livepatch_sibling", "livepatch_no_nop")  # bl and nop; b; bl without a nop
Case = tuple[tuple[int, int], int]  # (the call, the word behind it) -> the word afterwards, or -8


def calls_of(livepatch: str, release: str = "6.1") -> dict[str, tuple[int, int]]:
    """The livepatch calls of a sample file: site -> (the call's word, the word behind it), as the file has them."""
    file = ModuleFile.open(sample(f"{livepatch}.ko", PPC, release))
    found = {}
    for site in klp.sites(file):
        index = file.section_index(site.section)
        if site.type == REL24 and index is not None:
            found[f"{livepatch}:{site.key}"] = _pair(file.section_bytes(index)[site.offset : site.offset + 8])
    return found


@lru_cache(maxsize=2)
def cases(release: str) -> tuple[Case, ...]:
    """What restore_r2() of a release does with every pair of words that the sample livepatches bring, on load and reload."""
    return tuple(dict.fromkeys(case for livepatch in LIVEPATCHES for case in _cases(livepatch, release)))


def _cases(livepatch: str, release: str) -> Iterator[Case]:
    kernel, before = Kernel(PPC, release), calls_of(livepatch, release)
    kernel.run(TARGET)
    loaded = kernel.insmod(f"{livepatch}.ko")
    yield from _changes(before, loaded, next(iter(before)))
    if not loaded.errno:
        now = {key: _pair(loaded.bytes_at(key)) for key in before}
        kernel.run(GONE)
        again = kernel.run(TARGET)
        yield from _changes(now, again, History(kernel.recording).failing(len(kernel.recording) - 1))


def _changes(before: dict[str, tuple[int, int]], step: Step, failing: str | None) -> Iterator[Case]:
    """What a load made of the words at each call; one that is refused shows only the call at which it stopped."""
    if not step.errno:
        yield from ((words, _pair(step.bytes_at(key))[1]) for key, words in before.items())
    elif failing:
        yield before[failing], step.errno


def _pair(value: bytes) -> tuple[int, int]:
    """Two words; the plain branch of livepatch_sibling is the last word of its section, so 0 stands for what is behind."""
    call, after = words_of(value.ljust(8, b"\0"))
    return call, after


@lru_cache(maxsize=1)
def words_that_satisfy() -> tuple[int, ...]:
    """Of 0 and nop: what may stand behind every call, before a reload on 6.1, so that it is not refused."""
    return tuple(word for word in (0, NOP) if not poked(word)[-1].errno)


def poked(word: int, release: str = "6.1") -> Recording:
    """The reload, where somebody puts `bl .` and a word of your choice at every call while the target is away.

    Errors: KlpteachError where that is no word.

    >>> poked(0)[-1].lines[0].partition(", ")[2][:12]
    'got 00000000'
    """
    if not isinstance(word, int) or not 0 <= word < 1 << 32:
        raise KlpteachError(f"{word!r} is no word. Give a number of 32 bits, like {NOP:#010x}.")
    value = f"{word << 32 | BRANCH:x}"
    pokes = (f"poke {key} {value}" for key in calls_of(LIVEPATCH, release))
    commands = (TARGET, f"insmod {LIVEPATCH}.ko", GONE, *pokes, TARGET)
    return simulate(Scenario("put-back", "a word put behind every call", "", commands), release, arch=PPC)


@lru_cache(maxsize=1)
def loads_of_doublewords() -> tuple[int, ...]:
    """Every different `ld` in the code of the sample modules, as the compiler wrote it."""
    names = ("nfsd_demo", LIVEPATCH, "livepatch_cumul1", "kvm_demo", "sunrpc_demo")
    files = [ModuleFile.open(sample(f"{name}.ko", PPC)) for name in names]
    words = (word for file in files for word in words_of(file.section_bytes(file.section_names.index(".text"))))
    return tuple(dict.fromkeys(word for word in words if word >> 26 == 58 and word & 3 == 0))


def some_loads(rng: random.Random, count: int) -> list[DSForm]:
    """Different loads from the sample modules, one of them at least with a negative offset."""
    found = [DSForm.of(word) for word in loads_of_doublewords()]
    negative = rng.choice([form for form in found if form.DS < 0])
    others = rng.sample([form for form in found if form != negative], count - 1)
    return [negative, *others]
