"""The course's own figures: made from the model and from data, told in words with the same numbers, the same each time."""

import re
import sys
import xml.etree.ElementTree as ET
from functools import lru_cache
from itertools import pairwise

import pytest
from markup import check_markup, hostile, overlaps, texts_of_figure

import klpteach as kt
from klpteach.course.nb04 import order_figure as figure_events
from klpteach.course.nb04.sequence import Event, coming_and_going
from klpteach.discussion.costs import read_costs
from klpteach.discussion.thread import read_timeline
from klpteach.model.recording import Recording
from klpteach.model.step import hexa
from klpteach.views.figures import code as figure_code
from klpteach.views.figures import layout as figure_layout
from klpteach.views.figures import life as figure_life
from klpteach.views.figures import reuse as figure_reuse
from klpteach.views.figures import timeline as figure_timeline
from klpteach.views.real import recorded

EVIL = "<script>alert(1)</script>$\\frac{$&"
SITE = "livepatch_nfsd_demo:.text+0x17"


def ko(name, arch="x86_64", release="6.1"):
    return kt.ModuleFile.open(kt.sample(name, arch, release))


DRAWN = {
    "layout of a livepatch": lambda: figure_layout.layout(ko("livepatch_nfsd_demo.ko")),
    "layout on 6.12": lambda: figure_layout.layout(ko("nfsd_demo.ko", release="6.12"), "6.12"),
    "layout of a large module": lambda: figure_layout.layout(ko("filler1m.ko")),
    "life of a ppc64le call": lambda: figure_life.life(Recording.load(recorded("moved", "6.1", "ppc64le"))),
    "life of a site": lambda: figure_life.life(kt.simulate("reload"), SITE),
    "order on 6.1": lambda: figure_events.order("6.1"),
    "order on 6.12": lambda: figure_events.order("6.12"),
    "reuse in a reload": lambda: figure_reuse.reuse(kt.simulate("reload")),
    "reuse with two livepatches": lambda: figure_reuse.reuse(kt.simulate("cumulative")),
    "reuse on a real kernel": lambda: figure_reuse.reuse(Recording.load(recorded("reload", "6.1"))),
    "timeline": figure_timeline.timeline,
    "code that could go": figure_code.code,
}
every_figure = pytest.mark.parametrize("name", DRAWN)


@lru_cache
def drawn(name):
    return DRAWN[name]()


@every_figure
def test_a_figure_is_the_same_each_time_and_its_table_has_its_rows(name):
    one, other = drawn(name), DRAWN[name]()
    assert one.png == other.png and one.alt == other.alt
    assert len(one.table()) == len(one.rows) > 3
    ET.fromstring(one.svg())


@every_figure
def test_words_on_a_figure_can_be_read_from_the_last_row(name):
    figure = drawn(name).figure
    (axes,) = figure.axes
    assert axes.texts and all(text.get_fontsize() >= 12 for text in axes.texts)
    long = [text for text in axes.texts if len(text.get_text()) > 2]
    assert all(text.get_fontsize() * 12 / figure.get_figwidth() >= 14 for text in long)


@every_figure
def test_no_word_leaves_the_figure(name):
    figure = drawn(name).figure
    (axes,) = figure.axes
    figure.draw_without_rendering()
    frame = figure.bbox
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1 and box.y0 >= frame.y0 - 1, text.get_text()


@every_figure
def test_no_word_stands_on_another(name):
    assert overlaps(texts_of_figure(drawn(name).figure), high=4) == []


def test_no_figure_is_left_open():
    from matplotlib import _pylab_helpers

    for name in DRAWN:
        drawn(name)
    assert "matplotlib.pyplot" not in sys.modules and _pylab_helpers.Gcf.get_all_fig_managers() == []


# -- layout -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["6.1", "6.12"])
@pytest.mark.parametrize("name", ["nfsd_demo", "livepatch_nfsd_demo"])
def test_the_layout_is_where_a_real_kernel_put_the_sections(name, release):
    recording = Recording.load(
        next((kt.sample("x", release=release).parents[2] / "recordings/x86_64").glob(f"reload--{release}--*"))
    )
    step = next(step for step in recording if name in (step.placement or {}))
    rows = figure_layout.layout_rows(ko(f"{name}.ko", release=release), release, step.placement[name])
    laid = {row["section"]: row["address"] for row in rows if row["kind"] != "init, freed later"}
    seen = {section: address for section, address in step.sections[name].items() if section in laid}
    assert len(seen) > 8 and seen == {section: laid[section] for section in seen}


def test_the_alt_text_of_a_layout_counts_the_livepatch_sites_and_has_their_addresses():
    one = figure_layout.layout(ko("livepatch_nfsd_demo.ko"))
    text = next(row for row in one.rows if row["section"] == ".text")
    assert f".text at {hexa(text['address'])} ({text['size']} bytes, 6 livepatch sites)" in one.alt
    assert sum(row["sites"] for row in one.rows) == 10


def test_the_rows_of_a_layout_do_not_overlap():
    for name in ("layout of a livepatch", "layout on 6.12"):
        rows = drawn(name).rows
        for row, other in pairwise(rows):
            assert row["end"] <= other["address"]


# -- life ---------------------------------------------------------------------------------------------------------------------


def test_the_life_of_a_real_site_has_the_bytes_of_the_recording():
    recording = Recording.load(next((kt.sample("x").parents[2] / "recordings/x86_64").glob("moved--6.12--*")))
    site = next(iter(recording[1].sites))
    one = figure_life.life(recording, site)
    assert [row["bytes"] for row in one.rows] == [(step.sites or {}).get(site, b"").hex(" ") for step in recording]
    assert len({row["bytes"] for row in one.rows}) == 4, "nothing, one value, zeros, another value"
    for row in one.rows:
        assert row["bytes"] in one.alt


def test_the_life_of_a_site_says_where_it_points_and_that_the_load_is_refused():
    alt = drawn("life of a site").alt
    assert "stale, from load 1 of the target: nfsd_demo at 0xffffffffc0201000; the load is refused" in alt


def test_an_unknown_site_names_those_that_are_there():
    with pytest.raises(kt.KlpteachError, match=re.escape(SITE)):
        figure_life.life(kt.simulate("reload"), "nowhere:.text+0x0")


# -- reuse ---------------------------------------------------------------------------------------------------------------------


def test_the_words_of_reuse_have_the_base_address_of_the_freed_and_the_refused_range():
    base = hexa(kt.simulate("reload")[0].module("nfsd_demo")["base"])
    alt = drawn("reuse in a reload").alt
    assert f"nfsd_demo freed at {base}" in alt and f"nfsd_demo refused at {base}" in alt
    assert "0xffffffffc0201000" in drawn("reuse on a real kernel").alt


def test_the_table_of_reuse_has_plain_values():
    table = figure_reuse.reuse_rows(kt.simulate("reload", "6.12"))
    assert {type(value) for row in table for value in row.values()} <= {int, str}
    assert all(row["start"] < row["end"] for row in table)


# -- order --------------------------------------------------------------------------------------------------------------------


def test_the_order_of_coming_is_the_kernels():
    """load_module(), klp_module_coming() and do_init_module() of 6.1; the callbacks' places are those of the kernel's selftests."""
    what = [event.what for event in coming_and_going("6.1") if event.phase == "coming"]
    assert what == [
        "state COMING",
        "10 relocations written",
        "prints “applying patch … to loading module”",
        "pre_patch callback",
        "functions redirected",
        "post_patch callback",
        "init()",
        "state LIVE",
    ]


@pytest.mark.parametrize(("release", "cleared"), [("6.1", False), ("6.12", True)])
def test_the_order_of_going_ends_with_clearing_only_since_6_3(release, cleared):
    what = [event.what for event in coming_and_going(release) if event.phase == "going"]
    assert what[:6] == [
        "state GOING",
        "exit()",
        "pre_unpatch callback",
        "prints “reverting patch … on unloading module”",
        "functions no longer redirected",
        "post_unpatch callback",
    ]
    assert what[6:] == ["10 relocations put back to zero"] * cleared + ["memory freed"]


# -- timeline and code --------------------------------------------------------------------------------------------------------


def test_the_timeline_tells_every_event_of_the_data():
    one = drawn("timeline")
    assert len(one.rows) == len(read_timeline())
    assert all(event.date in one.alt and event.what in one.alt for event in read_timeline())
    shown = re.sub(r"\s+", " ", " ".join(text.get_text() for text in one.figure.axes[0].texts))
    assert all(event.what in shown for event in read_timeline())


def test_the_code_that_could_go_adds_up_to_the_data():
    one = drawn("code that could go")
    for tier in "AB":
        removed = sum(cost.removed or 0 for cost in read_costs() if cost.tier == tier)
        assert f"{removed} lines" in one.alt
    assert sum(row["lines"] for row in one.rows if row["tier"] in "AB") == sum(
        c.removed or 0 for c in read_costs() if c.tier
    )


# -- hostile names ------------------------------------------------------------------------------------------------------------


def test_hostile_names_come_out_as_text():
    one = figure_events.order_of([Event(1, EVIL, "module loader", EVIL), Event(2, EVIL, "livepatch core", EVIL)])
    life = figure_life.life(hostile())
    for shown in (one, life):
        check_markup(shown._repr_html_())
        assert "<script" not in shown._repr_html_() and ET.fromstring(shown.svg()) is not None
