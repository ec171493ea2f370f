"""The pictures: they show what the recording says, in every theme's markup, and let nothing from a file through unescaped."""

import re
import shutil
import subprocess
from html import unescape

import pytest
from markup import EVIL, check_markup, hostile, hostile_ppc64le
from recordings import REAL, real

import klpteach as kt
from klpteach.model import policy
from klpteach.model.recording import Recording
from klpteach.model.step import Step, hexa
from klpteach.reading.history import History
from klpteach.scenarios.course import SCENARIOS
from klpteach.scenarios.simulate import simulate
from klpteach.views import style
from klpteach.views.explorer import instructions as disassembly
from klpteach.views.explorer import map_svg as mapdrawing
from klpteach.views.explorer import panes as html
from klpteach.views.explorer import saved as twin
from klpteach.views.explorer import sites as bytestable
from klpteach.views.explorer import stubs as stubtable
from klpteach.views.explorer import two_kernels as comparison
from klpteach.views.explorer.controls import witness

ADDRESS = re.compile("0x[0-9a-f]{16}")


# -- real kernels -------------------------------------------------------------------------------------------------------------


def test_every_step_of_every_real_recording_can_be_drawn():
    for path in REAL:
        history = real(path)
        for step in range(len(history.recording)):
            text = html.explorer_html(history.recording, step, history=history)
            check_markup(text, (path.name, step))
            assert len(text) < 60_000, (path.name, step, "too much to be sent at every step")
        check_markup(twin.twin_html(history.recording, history=history), path.name)
        assert len(twin.plain_text(history.recording, history=history).splitlines()) > 1, path.name


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


# -- ppc64le and two kernels, real ---------------------------------------------------------------------------------------------

STOCK, REUSE = "ppc64le/moved--6.12-stock--STUBS.json", "ppc64le/moved--6.12-reuse--LOADS.json"


def test_every_step_of_two_real_kernels_can_be_drawn_side_by_side():
    for pair in ((STOCK, REUSE), ("x86_64/reload--6.1--REFUSED.json", "x86_64/reload--6.12--LOADS.json")):
        left, right = map(real, pair)
        for step in range(len(left.recording)):
            for ask in (False, True):
                text = comparison.compare_html(left, right, step, ask, note="<note>")
                check_markup(text)
                assert text.count('<div class="side">') == 2 and "&lt;note&gt;" in text
        check_markup(twin.compare_twin_html(left, right))


def test_two_real_kernels_are_told_apart_by_their_verdicts():
    text = unescape(comparison.compare_html(real(STOCK), real(REUSE), 7))
    assert "≠ Different outcomes." in text and "Reload refused: ENOENT (−2)" in text and "Loaded and patched." in text
    assert "6.12 as it is" in text and "6.12 + reuse" in text
    assert "= The same outcome." in unescape(comparison.compare_html(real(STOCK), real(REUSE), 0))


def test_a_kernel_that_oopsed_stands_at_its_last_step_while_the_other_goes_on():
    gone, well = real("ppc64le/edge--6.12-stock--OOPS.json"), real("ppc64le/edge--6.12-reuse--LOADS.json")
    last = len(gone.recording) - 1
    well.recording.steps.append(Step("rmmod nfsd_demo", 0))
    well = History(well.recording, well.files)
    text = unescape(comparison.compare_html(gone, well, last + 1))
    assert "≠ One kernel is gone." in text and f"(ended at step {last + 1})" in text and "Oops" in text
    assert "(ended)" in twin.compare_twin_html(gone, well)


def test_the_stub_past_the_end_stands_outside_the_frame_with_a_word():
    history = real("ppc64le/sibling-moved--6.12-stock--STUBS.json")
    before, after = (stubtable.stubs_pane(history, step) for step in (4, 7))
    assert "past the end" not in before
    frame, _, behind = after.partition('<div class="past">')
    assert frame.count("load 3") == 0 and "load 3" in behind and "past the end: 40 bytes" in behind
    assert "6 of 6 slots used, 1 past the end" in frame


def test_a_stale_slot_says_whose_code_stands_there_now_if_a_call_still_goes_there():
    assert "lockd_demo is there now" in stubtable.stubs_pane(real(STOCK), 3)
    assert "lockd_demo is there now" not in stubtable.stubs_pane(real(STOCK), 4)


def test_the_outcome_of_a_step_is_not_in_the_stub_table_while_it_is_asked():
    shown, hidden = stubtable.stubs_pane(real(STOCK), 4), stubtable.stubs_pane(real(STOCK), 4, ask=True)
    assert "load 2" in shown and "load 2" not in hidden and "8 of 11 slots used" in hidden


def test_a_table_of_stubs_is_told_in_words_too():
    history = real(STOCK)
    table = history.stubs("livepatch_nfsd_demo", 7)
    assert stubtable.in_words(table) == (
        "Stub table of livepatch_nfsd_demo, 11 slots: 5 to the kernel, 7 stale; 1 stub past the end."
    )
    assert 'role="img"' in stubtable.strip(table)


def test_a_trace_is_cut_but_what_follows_it_is_not():
    lines = real(STOCK).recording[7].lines
    shown = html.without_trace(lines)
    assert len(lines) > 30 and len(shown) <= html.MAX_NEW_LINES
    assert shown[0].startswith("WARNING") and "stub_for_addr" in shown[0] and shown[-1] == lines[-1]


# -- instructions -------------------------------------------------------------------------------------------------------------

WORDS = [0x60000000, 0xE8410018, 0x480001C5, 0x48000001, 0x4BFFFFF1, 0x48000114, 0x3C4C0002, 0x38427F00, 0x3842FF00]


@pytest.mark.parametrize("word", WORDS, ids=hex)
def test_the_words_we_know_read_as_capstone_reads_them(word):
    capstone = pytest.importorskip("capstone")
    engine = capstone.Cs(capstone.CS_ARCH_PPC, capstone.CS_MODE_64 | capstone.CS_MODE_LITTLE_ENDIAN)
    address = 0xC008000000130000
    _, _, mnemonic, operands = next(engine.disasm_lite(word.to_bytes(4, "little"), address))
    ours, _, rest = disassembly.instruction(word, address).partition(" ")
    numbers = [int(n, 0) & 0xFFFFFFFF for n in re.findall(r"-?(?:0x[0-9a-f]+|\b\d+)", rest)]
    theirs = [int(n, 0) & 0xFFFFFFFF for n in re.findall(r"-?(?:0x[0-9a-f]+|\b\d+)", operands)]
    assert ours == mnemonic and numbers == theirs


def test_the_words_we_know_read_as_objdump_reads_them(tmp_path):
    objdump = shutil.which("powerpc64le-linux-gnu-objdump")
    if not objdump:
        pytest.skip("no powerpc64le-linux-gnu-objdump here (binutils-powerpc64le-linux-gnu)")
    (tmp_path / "words").write_bytes(b"".join(word.to_bytes(4, "little") for word in WORDS))
    flags = ["-D", "-b", "binary", "-m", "powerpc:common64", "-EL", "-M", "power9,raw"]
    out = subprocess.run([objdump, *flags, tmp_path / "words"], capture_output=True, text=True, check=True).stdout
    theirs = re.findall(r"^ *([0-9a-f]+):\t(?:[0-9a-f]{2} ){4}\t(\S+)(?:\s+(\S+))?", out, re.M)
    assert len(theirs) == len(WORDS)
    for (place, mnemonic, operands), word in zip(theirs, WORDS, strict=True):
        ours = disassembly.instruction(word, int(place, 16)).split()
        if mnemonic in ("nop", "ori"):
            assert ours == ["nop"]
        elif mnemonic in ("b", "bl"):
            assert ours[0] == mnemonic and int(ours[1], 16) & 0xFFFFFFFF == int(operands, 16) & 0xFFFFFFFF
        else:
            assert ours == [mnemonic, operands]


def test_without_capstone_the_words_of_this_story_still_have_names(monkeypatch):
    monkeypatch.setattr(disassembly, "_engine", lambda arch: None)
    history = real("ppc64le/reload--6.1-stock--REFUSED.json")
    text = unescape(disassembly.call_html(history, history.failing(3), 3))
    for words in ("nop", "bl 0xc008000000130218", "ld r2,24(r1)", "stub 5 → demo_dup, load 1", "→ refuse"):
        assert words in text
    assert disassembly.instruction(0x7C0802A6) == ".long 0x7c0802a6"


def test_with_capstone_other_words_are_read_too():
    pytest.importorskip("capstone")
    assert disassembly.instruction(0x7C0802A6).startswith("mflr")


# -- properties ---------------------------------------------------------------------------------------------------------------


TOLD = [(story, release) for story in SCENARIOS for release in ("6.1", "6.12")]


def test_every_address_in_the_alt_text_is_in_the_recording_at_that_step_or_before():
    for story, release in TOLD:
        recording = simulate(story, release)
        history = History(recording)
        for step in range(len(recording)):
            past = recording.steps[: step + 1]
            tables = {hex(row["base"]) for earlier in past for row in earlier.modules}
            regions = [regions for earlier in past for regions in (earlier.placement or {}).values()]
            placed = {hex(address) for addresses in regions for address in addresses.values()}
            printed = {hex(load.base) for load in history.loads if load.first <= step and load.from_val}
            said = set(ADDRESS.findall(mapdrawing.alt_text(history, step)))
            assert said and said <= tables | placed | printed, (story, release, step)


def test_markup_is_balanced_and_the_same_each_time():
    for story, release in TOLD:
        recording, again = simulate(story, release), simulate(story, release)
        for step in range(len(recording)):
            for ask in (False, True):
                text = html.explorer_html(recording, step, ask=ask)
                check_markup(text, (story, release, step))
                assert text == html.explorer_html(again, step, ask=ask), (story, release, step)
        assert twin.twin_html(recording) == twin.twin_html(again), (story, release)


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


@pytest.mark.parametrize("step", range(4))
def test_hostile_names_in_stubs_and_instructions_come_out_as_text(step):
    recording = hostile_ppc64le()
    history = History(recording)
    for text in (
        html.explorer_html(recording, step),
        comparison.compare_html(history, history, step, note=EVIL, before=EVIL),
        twin.twin_html(recording),
        twin.compare_twin_html(history, history),
    ):
        assert "<script" not in text.lower()
        check_markup(text)
    if step:
        assert "past the end" in html.explorer_html(recording, step) and EVIL not in stubtable.stubs_pane(history, step)


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


def test_rows_that_are_left_out_are_counted_live_and_saved():
    ten, four = simulate("reload"), simulate("cumulative", "6.12")
    assert "5 of 10 relocation sites in livepatch_nfsd_demo" in html.explorer_html(ten, 3)
    assert "5 of the 10 sites are shown." in twin.twin_html(ten)
    assert "4 relocation sites in livepatch_cumul2" in html.explorer_html(four, 8)
    assert "sites are shown" not in twin.twin_html(four)


def test_a_saved_page_shows_the_bytes_of_the_last_six_steps_since_nobody_can_go_back_there():
    steps = re.findall(r"<th[^>]*>(\d) (?:insmod|rmmod)", twin.twin_html(simulate("cumulative", "6.12")))
    assert steps == ["2", "5", "6", "7", "8", "9"]  # the first writing stays


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
    from klpteach.views.explorer.explorer import explore

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

    monkeypatch.setattr("klpteach.views.explorer.controls.simulate", broken)
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
    assert shown.arch not in shown.view.children and shown.left.view not in shown.view.children
    assert shown.slider.max == 5
    shown.step = 4
    assert "step" in shown.slider.description.lower() and "Reload refused" in line_of(shown)


def test_a_display_holds_the_widget_and_its_twins(explore):
    bundle = explore()._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert bundle["text/plain"].count("\n") == 4


def test_comparing_shows_two_kernels_at_the_same_step_and_keeps_it(explore):
    shown = explore("reload", "6.1")
    shown.step = 3
    shown.compare.value = True
    text = unescape(shown.picture.value)
    assert shown.step == 3 and "≠ Different outcomes." in text and "6.1 as it is" in text and "6.12 as it is" in text
    assert shown.right.view.layout.display is None
    shown.compare.value = False
    assert "Reload refused" in line_of(shown) and shown.other is None and shown.right.view.layout.display == "none"


def test_a_proposal_on_the_right_leaves_the_left_alone(explore):
    shown = explore("reload", "6.1", compare=("6.1", ["deny-removal"]))
    assert shown.compare.value and shown.right.boxes["deny-removal"].value and not shown.boxes["deny-removal"].value
    left = shown.history
    shown.right.boxes["deny-removal"].value = False
    shown.right.boxes["clear-checked"].value = True
    assert shown.history is left and shown.other.recording.proposals == ["clear-checked"]
    assert "Right: clear, checked (6.3), on" in unescape(shown.picture.value)


def test_an_impossible_mix_on_the_right_is_taken_back_there(explore):
    shown = explore("reload", "6.1", compare=("6.1", ["clear-checked"]))
    shown.right.boxes["clear-relocations"].value = True
    assert not shown.right.boxes["clear-relocations"].value
    assert policy.why_impossible("clear-relocations", ["clear-checked"]) in unescape(shown.picture.value)


def test_another_machine_has_its_own_proposals_and_says_what_went_off(explore):
    shown = explore("reload", "6.1", ["clear-checked"])
    shown.arch.value = "ppc64le"
    assert shown.recording.arch == "ppc64le" and not shown.boxes["clear-checked"].value
    assert "Not on this machine: clear, checked (6.3)" in line_of(shown)
    visible = [name for name, box in shown.boxes.items() if box.layout.display != "none"]
    assert visible == policy.available("ppc64le")
    shown.arch.value = "x86_64"
    assert shown.recording.arch == "x86_64" and "reuse-stub" in shown.boxes
    assert shown.boxes["reuse-stub"].layout.display == "none"


def test_the_right_kernel_has_the_proposals_of_the_machine_when_it_is_opened(explore):
    shown = explore("reload", "6.1")
    shown.arch.value = "ppc64le"
    shown.compare.value = True
    visible = [name for name, box in shown.right.boxes.items() if box.layout.display != "none"]
    assert visible == policy.available("ppc64le") and shown.other.recording.arch == "ppc64le"


def test_a_story_that_the_other_machine_does_not_have_gives_way_to_the_reload(explore):
    shown = explore("sections", "6.12", arch="ppc64le")
    shown.arch.value = "x86_64"
    assert shown.story.value == "reload" and shown.recording.scenario == "reload"


def test_a_story_without_modules_for_this_kernel_says_so_and_the_choice_goes_back(explore):
    shown = explore("reload", "6.1", arch="ppc64le")
    shown.story.value = "edge"
    assert "livepatch_edge.ko, not built for 6.1" in shown.picture.value and shown.story.value == "reload"
    shown.next.click()
    assert shown.step == 1 and shown.recording.scenario == "reload"


def test_the_model_on_ppc64le_shows_stubs_and_instructions(explore):
    shown = explore("reload", "6.1", arch="ppc64le")
    shown.step = 3
    text = unescape(shown.picture.value)
    assert "Reload refused: ENOEXEC (−8)." in text and "ld r2,24(r1)" in text and "slots used" in text


def test_two_recordings_can_be_compared_without_a_model(explore):
    shown = explore(recording=real(STOCK).recording, compare=real(REUSE).recording)
    shown.step = 7
    assert "≠ Different outcomes." in shown.picture.value
    bundle = shown._repr_mimebundle_()
    assert "6.12 + reuse" in bundle["text/html"] and "<style" not in bundle["text/html"]
    assert bundle["text/plain"].count("\n\n") == 1


def test_the_style_is_sent_once_and_not_with_every_step(explore):
    shown = explore("reload")
    shown.next.click()
    assert "<style" not in shown.picture.value
    assert sum("<style" in getattr(child, "value", "") for child in shown.view.children if child.comm) == 1


def test_the_picture_is_as_high_as_what_it_shows(explore):
    shown = explore("reload")
    assert shown.picture.layout.height == "auto" and shown.picture.layout.overflow is None


def test_where_we_are_stands_in_words_and_follows_the_storys_length(explore):
    shown = explore("reload")
    assert shown.walk.where.value == "Step 1 of 4"
    shown.story.value = "moved"
    shown.next.click()
    assert shown.walk.where.value == "Step 2 of 5" and shown.slider.max == 5


def test_every_proposal_stands_in_one_group_and_is_explained(explore):
    shown = explore("reload")
    named = [name for names in shown.left.groups.values() for name in names]
    assert sorted(named) == sorted(shown.boxes)
    visible = [name for name, box in shown.boxes.items() if box.layout.display != "none"]
    assert all(f'class="kt-{name}"' in shown.left.tips.value for name in visible)


def test_a_recording_can_be_explored_as_it_is_and_one_proposal_needs_no_brackets() -> None:
    recording = kt.simulate("reload", proposals="remove-check")
    assert recording.proposals == ["remove-check"] and recording[3].errno == 0
    assert kt.explore(recording).recording is recording


# -- who says so --------------------------------------------------------------------------------------------------------------


def test_the_explorer_names_the_kernel_that_did_what_is_shown():
    seen = kt.explore("reload")
    assert seen.who.value == "A kernel did so: reload--6.1-small--REFUSED, step 1."
    seen.step = 3
    assert seen.who.value == "A kernel did so: reload--6.1-small--REFUSED, step 4."
    assert "; a kernel with this patch told this story: " in kt.explore(
        "reload", "6.1", arch="ppc64le"
    ).boxes["clear-relocations"].tooltip  # fmt: skip
    seen = kt.explore("reload", "6.1", ["clear-relocations"], arch="ppc64le")
    assert re.fullmatch(r"A kernel with this patch did so: reload--6\.1-clear\S+, step 1\.", seen.who.value)


def test_the_explorer_does_not_tell_the_end_by_a_recordings_name():
    asked = kt.explore("reload")
    asked.ask.value = True
    assert asked.who.value == ""
    asked.show.click()
    assert "reload--6.1-small--REFUSED" in asked.who.value


def test_a_kernel_that_did_something_else_is_no_witness():
    story = simulate("reload", "6.1")
    assert "did so" in witness(History(story), 3)
    story.steps[3].errno = 0
    assert witness(History(story), 3) == "The model says so; no kernel was asked."
    assert "did so" in witness(History(story), 2)
