"""The pictures: they show what the recording says, in every theme's markup, and let nothing from a file through unescaped."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from test_history import REAL, real

from klpteach import policy
from klpteach.reading.history import History
from klpteach.recording import Recording, Step, hexa
from klpteach.scenarios import SCENARIOS, simulate
from klpteach.views import bytestable, html, mapdrawing, style, twin

ADDRESS = re.compile("0x[0-9a-f]{16}")
EVIL = "<script>alert(1)</script>"


class Balanced(HTMLParser):
    """Fails where an element is closed that was not opened last."""

    VOID = frozenset({"img", "br", "rect", "line", "path", "polygon", "meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def check_markup(text: str) -> None:
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []


def hostile() -> Recording:
    """A recording made by hand in which every name that a file can choose is a script."""
    module = {
        "name": EVIL,
        "size": 4096,
        "refcount": 0,
        "used_by": [EVIL],
        "state": "Live",
        "base": 0xFFFFFFFFC0201000,
        "taint": "OEK",
    }
    target = {**module, "name": f"{EVIL}t", "base": 0xFFFFFFFFC0301000}
    site, patch = (
        f"{EVIL}:{EVIL}+0x1",
        {EVIL: {"enabled": 1, "transition": 0, "objects": {f"{EVIL}t": {"patched": 1, "functions": [EVIL]}}}},
    )
    sections, symbols = {EVIL: {EVIL: 0xFFFFFFFFC0201000}}, {EVIL: [(0xFFFFFFFFC0201000, "t", EVIL)]}
    line = f"livepatch: failed to initialize patch '{EVIL}' for module '{EVIL}t' (-8)"
    steps = [
        Step(f"insmod {EVIL}t.ko", 0, modules=[target], sites={}),
        Step(
            f"insmod {EVIL}.ko",
            0,
            [(4, f"{EVIL}: hello")],
            modules=[module, target],
            sites={site: b"\1\2\3\4"},
            livepatch=patch,
            sections=sections,
            symbols=symbols,
        ),
        Step(f"rmmod {EVIL}t", 0, modules=[module], sites={site: b"\1\2\3\4"}, livepatch=patch, out=EVIL),
        Step(f"insmod {EVIL}t.ko", -8, [(4, line)], modules=[module], sites={site: b"\1\2\3\4"}, livepatch=patch),
    ]
    return Recording(EVIL, EVIL, EVIL, {"arch": "x86_64", "release": f"6.1{EVIL}"}, proposals=[EVIL], steps=steps)


# -- real kernels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_every_step_of_every_real_recording_can_be_drawn(path):
    history = real(path)
    for step in range(len(history.recording)):
        check_markup(html.explorer_html(history.recording, step, history=history))
    check_markup(twin.twin_html(history.recording, history=history))
    assert len(twin.plain_text(history.recording, history=history).splitlines()) > 1


def test_the_real_refusal_is_shown_with_its_sum_and_its_lines():
    history = real("x86_64/reload--6.1--REFUSED.json")
    text = unescape(html.explorer_html(history.recording, 3, history=history))
    assert "ENOEXEC (−8)" in text and "10 sites nonzero: refused" in text
    for line in history.recording[3].lines:
        assert f"► {line}" in text
    assert "S + A − P = 0xffffffffc0203010 − 4 − 0xffffffffc0206017" in text and "the very same bytes" in text


def test_a_real_step_without_a_module_table_is_marked_as_not_looked_at():
    history = real("x86_64/fifty-moves--6.1--REFUSED.json")
    assert history.recording[4].modules is None
    assert "livepatch_nfsd_demo ?" in mapdrawing.map_svg(history, 4)


# -- properties ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["6.1", "6.12"])
@pytest.mark.parametrize("story", SCENARIOS)
def test_every_address_in_the_alt_text_is_in_the_recording_at_that_step_or_before(story, release):
    recording = simulate(story, release)
    history = History(recording)
    for step in range(len(recording)):
        past = recording.steps[: step + 1]
        tables = {hex(row["base"]) for earlier in past for row in earlier.modules}
        placed = {
            hex(at) for earlier in past for regions in (earlier.placement or {}).values() for at in regions.values()
        }
        printed = {hex(load.base) for load in history.loads if load.first <= step and load.seen_in == "val"}
        said = set(ADDRESS.findall(mapdrawing.alt_text(history, step)))
        assert said and said <= tables | placed | printed


@pytest.mark.parametrize("release", ["6.1", "6.12"])
@pytest.mark.parametrize("story", SCENARIOS)
def test_markup_is_balanced_and_the_same_each_time(story, release):
    recording, again = simulate(story, release), simulate(story, release)
    for step in range(len(recording)):
        for ask in (False, True):
            text = html.explorer_html(recording, step, ask=ask)
            check_markup(text)
            assert text == html.explorer_html(again, step, ask=ask)
    assert twin.twin_html(recording) == twin.twin_html(again)


@pytest.mark.parametrize("release", ["6.1", "6.12"])
@pytest.mark.parametrize("story", SCENARIOS)
def test_no_text_of_the_map_leaves_its_frame(story, release):
    history = History(simulate(story, release))
    for step in range(len(history.recording)):
        for x, css, anchor, text in re.findall(
            r'<text x="([\d.-]+)" y="[\d.-]+" class="([^"]*)" text-anchor="(\w+)">([^<]*)<',
            mapdrawing.map_svg(history, step),
        ):
            width = len(unescape(text)) * (5.2 if "ax" in css else 6.6)
            left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
            assert left > -2 and left + width < mapdrawing.WIDTH + 12, text


def test_the_twin_holds_nothing_that_a_sanitizer_drops():
    for story in SCENARIOS:
        text = twin.twin_html(simulate(story)).lower()
        assert (
            "<svg" not in text
            and "<script" not in text
            and "<style" not in text
            and " on" not in re.sub(r">[^<]*<", "><", text)
        )
        assert (
            text.count("<details>") >= 3
            and 'src="data:image/svg+xml;base64,' in text
            and re.search(r'alt="[^"]{80,}"', text)
        )


@pytest.mark.parametrize("step", range(4))
def test_hostile_names_come_out_as_text(step):
    recording = hostile()
    for text in (
        html.explorer_html(recording, step),
        html.explorer_html(recording, step, ask=True, note=EVIL),
        twin.twin_html(recording),
        html.error_html(EVIL),
        mapdrawing.map_svg(History(recording), step, live=False),
    ):
        assert "<script" not in text.lower()
        check_markup(text)
    assert "&lt;script&gt;" in html.explorer_html(recording, step)


def test_a_hostile_release_does_not_break_the_picture():
    recording = hostile()
    recording.kernel = {"arch": "x86_64", "release": EVIL}
    assert "<script" not in html.explorer_html(recording, 3)


# -- examples -----------------------------------------------------------------------------------------------------------------


def test_a_recording_with_steps_that_nobody_looked_at_renders():
    recording = Recording(
        "made", steps=[Step("insmod a.ko"), Step("rmmod a", None, quiet=True), Step("insmod a.ko", -8)]
    )
    for step in range(3):
        check_markup(html.explorer_html(recording, step))
    assert "addresses not looked at" in mapdrawing.map_svg(History(recording), 0)


def test_an_empty_recording_has_a_twin_and_no_picture():
    assert twin.twin_html(Recording("empty"))
    with pytest.raises(IndexError):
        html.explorer_html(Recording("empty"), 0)


def test_asking_first_hides_the_outcome():
    recording = simulate("reload")
    shown, hidden = html.explorer_html(recording, 3), html.explorer_html(recording, 3, ask=True)
    assert "ENOEXEC" in shown and "refusing to load" in shown
    for word in ("ENOEXEC", "refus", "−8", "✗"):
        assert word not in hidden.split("</style>")[1].replace("dashed: refused, would have been there", "")


def test_states_are_told_by_letter_and_words_and_not_by_colour_alone():
    text = html.explorer_html(simulate("reload"), 3)
    assert "<i>S1</i>" in text and "<i>w</i>" in text and "stale, from load" in text and "hatched: freed" in text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("bg", "fg"), [("#ffffff", "#212121"), ("#212121", "#ffffff"), ("#111111", "#ffffff")])
def test_words_can_be_read_on_light_and_on_dark(bg, fg):
    """Coloured words on the page and on their own tint: 4.5 to 1; frames and arrows on the page: 2 to 1, and never alone."""
    for colour in (style.BLUE, style.GREEN, style.VERMILION):
        ink, tint = style.blend(colour, fg, 0.68), style.blend(colour, bg, 0.17)
        assert contrast(ink, bg) >= 4.5 and contrast(fg, tint) >= 4.5
        assert contrast(colour, bg) >= 2
    assert contrast(style.blend(fg, bg, 0.72), style.blend(fg, bg, 0.04)) >= 4.5


def test_the_sum_is_spelled_out():
    recording = simulate("reload")
    history = History(recording)
    key = history.failing(3)
    found = history.sum_at(key, 3)
    text = unescape(bytestable.sum_html(history, key, 3))
    assert f"S + A − P = {hexa(found.S)} − 4 − {hexa(found.P)}" in text and found.stored.hex(" ") in text


# -- the explorer -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def explore():
    pytest.importorskip("ipywidgets")
    from klpteach.views.explorer import explore

    return explore


def line_of(explorer) -> str:
    return unescape(re.search(r'<div class="v .*?</div>', explorer.picture.value)[0])


def test_switching_clear_checked_on_changes_the_verdict_from_refused_to_works(explore):
    shown = explore("reload", "6.1")
    for _ in range(3):
        shown.next.click()
    assert "Reload refused" in line_of(shown)
    shown.boxes["clear-checked"].value = True
    assert shown.step == 2 and "step 3 is the first that comes out differently" in line_of(shown)
    shown.next.click()
    assert "Loaded and patched" in line_of(shown)


def test_an_impossible_mix_is_taken_back_with_its_reason(explore):
    shown = explore("reload", "6.1", ["clear-checked"])
    shown.boxes["clear-relocations"].value = True
    assert not shown.boxes["clear-relocations"].value and shown.boxes["clear-checked"].value
    assert policy.why_impossible("clear-relocations", ["clear-checked"]) in line_of(shown)


def test_another_kernel_keeps_the_story_and_says_what_changed(explore):
    shown = explore("reload", "6.1")
    shown.release.value = "6.12"
    assert shown.recording.release == "6.12" and "Kernel 6.12" in line_of(shown)


def test_an_error_in_a_callback_shows_where_the_verdict_stands(explore, monkeypatch):
    shown = explore("reload")

    def broken(*_, **__):
        raise RuntimeError("the bridge is <out>")

    monkeypatch.setattr("klpteach.views.explorer.simulate", broken)
    shown.story.value = "retry"
    shown.release.value = "5.3"
    assert "the bridge is <out>" in line_of(shown) or "RuntimeError" in shown.picture.value
    assert "<out>" not in shown.picture.value


def test_at_the_end_next_stays_where_it_is_and_says_so(explore):
    shown = explore("reload")
    for _ in range(5):
        shown.next.click()
    assert shown.step == 3 and "This is the last step." in line_of(shown) and not shown.next.disabled


def test_two_explorers_share_no_state(explore):
    first, second = explore("reload"), explore("reload")
    first.next.click()
    first.boxes["remove-check"].value = True
    assert (
        (first.step, second.step) == (1, 0)
        and not second.boxes["remove-check"].value
        and second.recording.proposals == []
    )


def test_a_click_is_heard_once_after_the_cell_ran_twice(explore):
    explore("reload")
    shown = explore("reload")
    shown.next.click()
    assert shown.step == 1


def test_the_answer_is_asked_first_and_then_compared(explore):
    shown = explore("reload")
    shown.step = 3
    shown.ask.value = True
    assert shown.question.layout.display == "flex" and "What will happen" in line_of(shown)
    shown.answer.value = "works"
    shown.show.click()
    assert (
        "came out differently" in line_of(shown)
        and "refused" in line_of(shown)
        and shown.question.layout.display == "none"
    )


def test_a_recording_has_no_controls_for_what_it_cannot_change(explore):
    shown = explore(recording=simulate("retry"))
    assert len(shown.view.children) == 3 and shown.slider.max == 5
    shown.step = 4
    assert "step" in shown.slider.description.lower() and "Reload refused" in line_of(shown)


def test_a_display_holds_the_widget_and_its_twins(explore):
    bundle = explore()._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert bundle["text/plain"].count("\n") == 4


# -- figures ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def figures():
    pytest.importorskip("matplotlib")
    from klpteach.views import figures

    return figures


def test_the_figure_is_the_same_each_time_and_leaves_nothing_open(figures):
    recording = simulate("reload")
    assert figures.svg(figures.reuse(recording)) == figures.svg(figures.reuse(recording))
    assert figures.png(figures.reuse(recording)) == figures.png(figures.reuse(recording))
    from matplotlib import _pylab_helpers

    assert _pylab_helpers.Gcf.get_all_fig_managers() == []


def test_words_on_the_figure_can_be_read_from_the_last_row(figures):
    from matplotlib.text import Text

    for story in ("reload", "cumulative"):
        sizes = [text.get_size() for text in figures.reuse(simulate(story)).findobj(Text) if text.get_text()]
        assert min(sizes) >= 14


def test_the_alt_text_has_the_base_address_of_the_freed_and_the_refused_range(figures):
    recording = simulate("reload")
    base = hexa(recording[0].module("nfsd_demo")["base"])
    text = figures.alt_text(recording)
    assert f"nfsd_demo freed at {base}" in text and f"nfsd_demo refused at {base}" in text


def test_the_table_of_the_figure_has_plain_values(figures):
    table = figures.rows(simulate("reload", "6.12"))
    assert {type(value) for row in table for value in row.values()} <= {int, str}
    assert all(row["start"] < row["end"] for row in table)


def test_a_real_recording_makes_a_figure_too(figures):
    history = real("x86_64/reload--6.1--REFUSED.json")
    assert "0xffffffffc0201000" in figures.alt_text(history.recording, history)
    assert figures.png(figures.reuse(history.recording, history), dpi=50)
