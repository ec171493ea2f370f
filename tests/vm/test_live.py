"""Kernels with a proposal in them, booted now: make live takes what the cache has, make live-proposals builds and tells all."""

from __future__ import annotations

import os

import pytest

from klpteach import replay
from klpteach.scenarios.questions import told
from klpteach.scenarios.simulate import get
from klpteach.vm.host import HostError, cache_dir, need
from klpteach.vm.kernels import RECORDED, table_kernels
from klpteach.vm.record import record
from klpteach.vm.variants.pack import stories_of

WANTED = os.environ.get("KLPTEACH_LIVE", "")
pytestmark = pytest.mark.skipif(not WANTED, reason="KLPTEACH_LIVE is not set: no real kernel is booted")


@pytest.mark.parametrize("variant", ["small", "deny-removal"])
def test_a_kernel_that_was_built_here_does_what_the_model_says(variant: str) -> None:
    if not (cache_dir() / "kernels" / f"x86_64-6.1-{variant}" / "vmlinux").exists():
        pytest.skip(f"x86_64-6.1-{variant} is not in the cache: klpteach vm build --arch x86_64 --release 6.1")
    try:
        need(RECORDED["x86_64"].machine.program, RECORDED["x86_64"].compiler)
    except HostError as error:
        pytest.skip(f"SKIPPED, no real kernel was booted: {error}")
    live = record(told(get("reload")), "6.1", variant)
    assert replay(live)[1] == []


@pytest.mark.skipif(WANTED != "proposals", reason="KLPTEACH_LIVE=proposals: every proposal is built, booted and asked")
@pytest.mark.parametrize("key", table_kernels("x86_64"), ids="-".join)
def test_every_proposal_does_in_every_story_what_the_model_says(key: tuple[str, str]) -> None:
    found = {story.name: replay(record(story, *key))[1] for story in stories_of("x86_64", *key)}
    assert {name: [*map(str, differences)] for name, differences in found.items() if differences} == {}
