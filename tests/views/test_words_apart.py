"""No word of a picture stands on another: in no story that frees memory, which is where two names want the same place."""

from functools import lru_cache

import pytest
from markup import overlaps, texts_of_figure, texts_of_map

import klpteach as kt
from klpteach.model.recording import Recording
from klpteach.reading.history import History
from klpteach.scenarios.recorded import evidence
from klpteach.scenarios.simulate import simulate, stories
from klpteach.views.explorer import map_svg
from klpteach.views.explorer.map import boxes, events
from klpteach.views.real import recorded


@lru_cache
def told(arch: str) -> list[tuple[str, History]]:
    found = []
    for story in stories(arch):
        for release in ("6.1", "6.12"):
            try:
                history = History(simulate(story, release, arch=arch))
            except kt.KlpteachError:  # the story needs a module that is not built for this release
                continue
            found.append((f"{story}, {release}, {arch}", history))
    return found


def frees(history: History) -> bool:
    """Whether a range is freed that still is of interest: such a story has ghosts."""
    rows = (boxes(history, i, history.observed_at(i)) for i in events(history.recording))
    return any(box.style == "ghost" for row in rows for box in row)


@pytest.mark.parametrize("arch", ["x86_64", "ppc64le"])
def test_no_word_of_the_address_map_stands_on_another_or_leaves_it(arch):
    for story, history in told(arch):
        for step in range(len(history.recording)):
            for size in ({}, {"max_height": 190, "least": 1}):  # the map of one kernel, and of two side by side
                places = list(texts_of_map(map_svg.map_svg(history, step, **size)))
                assert overlaps(places) == [], (story, step)
                assert all(left > -1 and right < map_svg.WIDTH + 1 for _, left, _, right, _ in places), (story, step)


@pytest.mark.parametrize("arch", ["x86_64", "ppc64le"])
def test_no_word_of_the_figure_stands_on_another_or_leaves_it(arch):
    from klpteach.views.figures.reuse import reuse

    drawn = [story for story in told(arch) if frees(story[1]) and len(story[1].recording) < 15]
    assert len(drawn) > 20, "the longer stories only repeat what the shorter ones do"
    for story, history in drawn:
        figure = reuse(history.recording, history).figure
        places, frame = texts_of_figure(figure), figure.bbox
        assert overlaps(places, high=3) == [], story
        for text, left, low, right, top in places:
            assert left >= -1 and right <= frame.x1 + 1 and low >= -1 and top <= frame.y1 + 1, (story, text)


def test_a_ghost_and_what_stands_on_it_both_have_their_whole_names():
    """Notebook 05's second picture: lockd_demo is where nfsd_demo was, and the livepatch still points there."""
    from klpteach.views.figures.reuse import reuse

    history = History(simulate("moved", "6.1"))
    words = [text for text, *_ in texts_of_figure(reuse(history.recording, history).figure)]
    assert words.count("lockd_demo") == 2 and words.count("nfsd_demo, freed") == 3


def test_the_words_of_real_kernels_stand_apart_too():
    for name in ("moved", "reload"):
        history = History(Recording.load(recorded(name, "6.12", "ppc64le")))
        for step in range(len(history.recording)):
            assert overlaps(texts_of_map(map_svg.map_svg(history, step))) == [], (name, step)
    history = History(evidence("edge--6.12-reuse--LOADS", "ppc64le"))
    for step in range(len(history.recording)):
        assert overlaps(texts_of_map(map_svg.map_svg(history, step))) == [], step
