"""What is said of a step reads as a sentence: one thing stays, two stay, and no number stands beside the wrong form."""

from __future__ import annotations

import re

import pytest

from klpteach.errors import KlpteachError
from klpteach.model.policy import PROPOSALS
from klpteach.reading.history import History
from klpteach.reading.verdict import verdict
from klpteach.scenarios.simulate import simulate, stories

THINGS = "site|stub|slot|line|module|byte|place|livepatch|relocation|command|section|symbol"
ONE, MANY = r"(?<![\d,.x])(?:1|one|One)", r"(?<![\d,.x])(?:[02-9]|[1-9]\d+|both|Both|all|All \d+)"
WRONG = {
    "one sites": rf"(?<!of ){ONE} (?:\w+ )?(?:{THINGS})s\b",
    "two site": rf"{MANY} (?:{THINGS})\b(?!s)",
    "one are": rf"{ONE} (?:{THINGS})(?: in \w+| that \w+ to \w+)* (?:are|have|hold|stay|lead|were|point|keep)\b",
    "two is": rf"{MANY} (?:{THINGS})s (?:is|has|holds|stays|leads|was|points|keeps)\b",
    "addresses of nothing": r"(?:addresses|calls) (?!into|of|from|and|to|that|is|are)[a-z]\w*_",
    "a gap": r"  | [,.](?!\w)|,,|\.\.(?!\.)|\( | \)",
}
ALONE = [(), *((name,) for name in PROPOSALS)]


def test_the_rules_find_what_they_are_for():
    for wrong, says in (("one sites", "1 sites are zero"), ("two site", "10 site stay"), ("one are", "1 site stay as in the file"),
                        ("two is", "3 stubs leads"), ("addresses of nothing", "now hold addresses nfsd_demo"), ("a gap", "is there .")):  # fmt: skip
        assert re.search(WRONG[wrong], says), wrong
    good = "1 site stays. 10 sites stay. The one site in x that points to y still holds it. 1 of 11 slots used. calls into nfsd_demo."
    assert not any(re.search(rule, good) for rule in WRONG.values())


@pytest.mark.parametrize("chosen", ALONE, ids=lambda chosen: chosen[0] if chosen else "as released")
@pytest.mark.parametrize("arch", ["x86_64", "ppc64le", "arm64", "s390x"])
def test_every_verdict_reads_aloud(arch, chosen):
    told = 0
    for name in stories(arch):
        try:
            recording = simulate(name, "7.3" if arch == "arm64" else "6.12" if name == "edge" else "6.1", chosen, arch)
        except KlpteachError:
            continue  # the proposal is of another machine, or the modules were not built for it
        history = History(recording)
        for index in range(len(recording)):
            says = str(verdict(recording, index, history))
            said = re.sub(r" ?(BUG|Unable to handle)[^.]*\.", "", says)  # the kernel's own words
            found = {words: hit[0] for words, rule in WRONG.items() if (hit := re.search(rule, said))}
            assert not found, (name, index + 1, says)
            told += 1
    if told == 0:
        assert not chosen or PROPOSALS[chosen[0]].arch not in (None, arch) or arch in ("arm64", "s390x")
