"""Random stories on every release of every architecture, a line each.

It has the proposals, the errnos, all that could be seen,
and the differences from the story before."""

from __future__ import annotations

import random
from collections.abc import Iterator

from damaged import short, told
from random_stories import story

from klpteach import Kernel, Recording, ScenarioError
from klpteach.files.elf_h import ARCH_OF_MACHINE
from klpteach.files.samples import ko_dir
from klpteach.model.policy import available, possible, releases

STORIES = 20  # for each release
KERNELS = [
    (arch, release) for arch in ARCH_OF_MACHINE.values() for release in releases(arch) if ko_dir(arch, release).is_dir()
]


def lines(arch: str, release: str) -> Iterator[str]:
    before = Recording("none")
    for number in range(STORIES):
        chance = random.Random(f"{arch} {release} {number}")
        mix = chance.sample(available(arch), chance.choice([0, 1, 1, 2]))
        kernel = Kernel(arch, release, mix if possible(mix, arch) else [])
        for command in story(chance, kernel):
            try:
                kernel.run(command)
            except ScenarioError:  # an oops, and everything hangs
                break
        now = kernel.recording
        different = short("\n".join(map(str, before.compare(now))).encode())
        yield " ".join((*(now.proposals or ["as released"]), "|", told(now.steps), different))
        before = now
