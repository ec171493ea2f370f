"""Questions and exercises: the model answers, every wrong choice is told why, and what was answered is kept."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import klpteach as kt
from klpteach.course import checks
from klpteach.course import progress as book
from klpteach.course.exercise import Exercise, Problem
from klpteach.course.notebooks import NOTEBOOKS, find_exercise, find_question, notebooks
from klpteach.course.question import Question
from klpteach.course.sheet import progress_rows

pytestmark = pytest.mark.usefixtures("blank")
ASKED = list(notebooks())
QUESTIONS = [
    pytest.param(name, question, id=name) for notebook in ASKED for name, question in notebook.questions.items()
]
EXERCISES = [pytest.param(name, one, id=name) for notebook in ASKED for name, one in notebook.exercises.items()]
SEEDS = (1, 2, 3, 7, 2026)


# -- every notebook ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "question"), QUESTIONS)
def test_the_answer_of_a_question_is_one_of_its_options_and_every_choice_is_told_why(name, question):
    answer = question.answer()
    assert answer in question.options and len(question.options) >= 2
    assert question.feedback.keys() == question.options.keys() and set(question.says) <= {*question.options, "panics"}
    for choice in question.options:
        reply = kt.predict(name, choice)
        assert reply.mark == ("✓" if choice == answer else "✗")
        assert len(reply.text.split()) >= 5, "a bare right or wrong teaches nothing"


class NoRepr:
    """What a reader may hand in by mistake: it cannot even be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


@pytest.mark.parametrize(("name", "one"), EXERCISES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_answer_of_an_exercise_is_right_and_nonsense_is_wrong(name, one, seed):
    problem = one.problem(seed)
    answer = problem.answer[0] if name == "fix" else problem.answer
    assert problem.reply(answer).mark == "✓"
    for nonsense in ("no such thing", -12345, [], None, object(), lambda *_: None, 10**5000, NoRepr()):
        reply = kt.check(name, nonsense, seed)
        assert reply.mark in "✗?" and len(repr(reply)) > 10
    for wrong, _ in problem.slips:
        assert problem.reply(wrong).mark == "✗", f"the slip {wrong!r} is the right answer"


@pytest.mark.parametrize(("name", "one"), EXERCISES)
def test_an_exercise_has_hints_a_way_and_the_same_problem_for_the_same_seed(name, one):
    from klpteach.course.exercise import _made

    problem = one.problem(3)
    _made.cache_clear()
    again = one.problem(3)
    assert (problem.ask, problem.steps, problem.hints) == (again.ask, again.steps, again.hints)
    assert problem.hints and problem.steps
    asked = {one.problem(seed).ask for seed in range(1, 13)}
    assert len(asked) >= 4 if one.seeded else len(asked) == 1


def test_no_two_notebooks_use_the_same_name():
    names = [name for notebook in ASKED for name in (*notebook.questions, *notebook.exercises)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "one"), EXERCISES)
def test_what_the_reader_sees_is_balanced_html_and_the_same_in_words(name, one):
    from markup import check_markup

    for sheet in (kt.exercise(name, 5), kt.worked(name, 5), kt.check(name), kt.check(name, "<script>")):
        check_markup(sheet._repr_html_())
        assert "<script" not in sheet._repr_html_() and repr(sheet)


# -- predict, commit, reveal --------------------------------------------------------------------------------------------------


def test_a_wrong_prediction_names_the_thought_behind_it():
    assert "The check never compares" in repr(kt.predict("same-address", "same"))


def test_an_unknown_question_names_what_there_is():
    with pytest.raises(kt.KlpteachError, match="same-address"):
        kt.predict("same-adress")


def test_a_choice_that_is_not_there_is_answered_in_a_line_with_those_that_are_and_is_not_kept():
    said = kt.predict("same-address", "maybe")
    assert said.mark == "?" and "same, mine, zero" in repr(said) and "\n" not in repr(said)
    assert not book.recall().predictions


def test_a_question_without_buttons_shows_what_to_write_for_each_choice():
    page = kt.predict("same-address").to_html()
    assert all(f"<code>{key}</code></li>" in page for key in ("same", "mine", "zero"))


def test_what_was_committed_is_shown_again_when_the_cell_runs_again():
    fresh = kt.predict("reload")
    assert fresh.choice is None and fresh.box.children[2].disabled
    kt.predict("reload", "loads")
    again = kt.predict("reload")
    assert again.choice == "loads" and "You committed to" in repr(again)
    assert again.box.children[1].value == "loads" and "It loads, and is patched again" in again.box.children[3].value


def test_a_click_commits_and_the_first_commitment_is_the_one_that_counts():
    asked = kt.predict("reload")
    asked.box.children[1].value = "panics"
    asked.box.children[2].click()
    assert "it is refused" in asked.box.children[3].value
    kt.predict("reload", "refused")
    assert book.recall().predictions == {"reload": ["panics", "refused"]}
    row = next(progress_rows(ASKED, book.recall()))
    assert (row.notebook, row.predicted, row.right, row.questions) == ("00", 1, 0, 1)


def test_the_saved_output_of_a_question_does_not_depend_on_what_somebody_answered():
    before = kt.predict("init-fails")._repr_mimebundle_()["text/html"]
    kt.predict("init-fails", "loads")
    assert kt.predict("init-fails")._repr_mimebundle_()["text/html"] == before


def test_an_error_behind_the_button_is_shown_and_not_lost():
    def broken():
        raise RuntimeError("<b>no model</b>")

    from klpteach.course.prediction import Prediction

    asked = Prediction("x", Question("?", {"a": "A"}, broken, {"a": "because"}))
    asked.box.children[1].value = "a"
    asked.box.children[2].click()
    assert "This did not work" in asked.box.children[3].value and "<b>no" not in asked.box.children[3].value


# -- exercises ----------------------------------------------------------------------------------------------------------------


def test_a_second_wrong_answer_gets_a_stronger_hint_and_the_same_one_does_not_count_twice():
    first = repr(kt.check("fix", "remove-check,"))
    assert "?" in first, "an unknown name is asked back"
    one = kt.check("fix", "deny-removal")
    assert kt.check("fix", "deny-removal").text == one.text
    two = kt.check("fix", "hard-dependencies")
    assert two.mark == "✗" and "kt.worked" in two.text and "kt.worked" not in one.text


def test_dots_ask_for_an_answer_and_are_not_one():
    assert kt.check("fix", ...).mark == kt.check("fix").mark == kt.check_fix(...).mark == "?"
    assert not book.recall().attempts


def test_solving_is_kept_and_shown_with_the_problem():
    assert "solved" not in kt.exercise("same-base").text
    seed, matters, why = find_exercise("same-base").problem().answer
    assert kt.check_seed(seed).mark == kt.check_seed(seed, matters=matters).mark == "?"
    assert kt.check_seed(seed, matters=not matters, why=why).mark == "✗"
    assert kt.check_seed(seed, matters=matters, why="address").mark == "✗"
    assert kt.check_seed(seed, matters=matters, why=why).mark == "✓"
    assert "solved" in kt.exercise("same-base").text


@pytest.mark.parametrize("said", ["banana", 2, [], "", "maybe", 0.5, ("True",)])
def test_an_answer_that_is_neither_yes_nor_no_is_never_taken_as_right(said):
    seed = find_exercise("same-base").problem().answer[0]
    assert kt.check_seed(seed, matters=said, why="zero").mark == "?"


@pytest.mark.parametrize("no", [False, "False", "no", " NO "])
def test_yes_and_no_are_understood_in_words(no):
    seed = find_exercise("same-base").problem().answer[0]
    assert kt.check_seed(str(seed), matters=no, why="Zero").mark == "✓"
    assert kt.check_seed(seed, matters="yes", why="zero").mark == "✗"


def test_a_readers_function_that_fails_is_told_and_not_raised():
    judge = checks.function_on([((8, 2), 4)], "half")
    assert judge(lambda a, b: {}[b]) == "half(8, 2) ends in KeyError: 2"
    assert judge(lambda a, b: a // b) is None and "without calling" in judge(4)


def test_a_seed_is_a_whole_number():
    with pytest.raises(kt.KlpteachError, match="whole number"):
        kt.exercise("fix", seed="one")


def test_one_problem_can_be_asked_in_many_shapes():
    problem = Problem("?", 0x1F, ("look",), ("hint",), slips=[(0xF1, "Turned round.")])
    assert [problem.reply(a).mark for a in (31, "0x1f", "1f", 31.0)] == ["✓"] * 4
    assert problem.reply("0xf1").text == "Turned round." and problem.reply(True).mark == "✗"


def test_a_seed_is_the_same_problem_on_every_python():
    assert Exercise("t", lambda rng: Problem(str(rng.random()), 0, (), ())).problem(4).ask == "0.47079008418656165"


def test_pandas_and_numpy_answers_are_taken_as_their_values():
    import numpy as np
    import pandas as pd

    assert checks.same(np.int64(5), 5) and checks.same(pd.Series({"a": 1}).to_dict(), {"a": 1})
    assert checks.same(pd.Series([1, 2]), [1, 2]) and not checks.same(pd.Series([1]), [2])


@given(st.permutations("abcdefg"))
def test_an_order_is_right_only_where_every_place_is(letters):
    said = checks.in_order("abcdefg")("".join(letters))
    assert (said is None) == (list(letters) == list("abcdefg"))


# -- progress -----------------------------------------------------------------------------------------------------------------


def answered():
    kt.predict("reload", "loads")
    kt.check("fix", "clear-checked")
    return kt.progress().text.splitlines()[-1]


@pytest.mark.parametrize(
    "form",
    ["  {0}\n {1} \n", "'{0}{1}'", "`{0}{1}`", "> {0}\n> {1}", "Mine: \u201c{0}\n{1}\u201d.\nRegards", "{0}\u200b{1}"],
)
def test_progress_survives_copying_out_and_in(blank, form):
    line = answered()
    blank.unlink()
    assert book.recall() == book.Progress()
    kt.progress(form.format(line[:30], line[30:]))
    assert book.recall().predictions == {"reload": ["loads"]} and book.recall().attempts["fix:1"].solved


@given(st.data())
def test_a_progress_text_with_one_letter_changed_is_refused(data):
    line = book.to_text(book.Progress({"reload": ["loads"]}))
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.sampled_from([c for c in "abzAZ019-_." if c != line[at]]))
    with pytest.raises(kt.KlpteachError, match="checksum"):
        book.from_text(line[:at] + other + line[at + 1 :])


@settings(deadline=None)
@given(st.text())
def test_any_other_text_is_one_clear_error(text):
    with pytest.raises(kt.KlpteachError):
        book.from_text(text)


def test_a_well_summed_text_of_something_else_is_refused():
    import base64
    import zlib

    body = base64.urlsafe_b64encode(zlib.compress(b'{"predictions": 7}')).decode().rstrip("=")
    with pytest.raises(kt.KlpteachError, match="another version"):
        book.from_text(f"klp1.{body}.{zlib.crc32(body.encode()):08x}")


def test_where_nothing_can_be_written_answers_live_on_in_memory_and_it_is_said_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KLPTEACH_PROGRESS", str(tmp_path / "file" / "below" / "progress.json"))
    kt.predict("reload", "loads")
    kt.predict("same-address", "same")
    assert book.recall().predictions == {"reload": ["loads"], "same-address": ["same"]}
    assert capsys.readouterr().out.count("cannot be written") == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"predictions": {"a": 1}, "attempts": {}}', "\x00", "[" * 100_000])
def test_a_damaged_file_is_set_aside_and_told(blank, damage, capsys):
    blank.write_text(damage)
    assert book.recall() == book.Progress()
    assert "damaged" in capsys.readouterr().out and blank.with_name("progress.json.damaged").exists()
    kt.predict("reload", "loads")
    assert json.loads(blank.read_text())["predictions"] == {"reload": ["loads"]}


def test_a_second_damaged_file_does_not_overwrite_the_first(blank, capsys):
    for number, damage in enumerate(("{", "[", "1")):
        blank.write_text(damage)
        kt.predict("reload", "loads")
        kept = blank.with_name(f"progress.json.damaged{number or ''}")
        assert kept.read_text() == damage and kept.name in capsys.readouterr().out


TWENTY_ANSWERS = """
import sys, time
import klpteach.course.progress as book
for number in range(20):
    known = book.recall()
    known.predictions.setdefault(f"{sys.argv[1]}-{number}", []).append("loads")
    known.attempt(sys.argv[1], number).solved = True
    time.sleep(0.002)  # while the answer is judged
    book.keep(known)
"""


def test_notebooks_that_write_at_once_lose_no_answer(blank):
    at_once = [subprocess.Popen([sys.executable, "-c", TWENTY_ANSWERS, name]) for name in "abcd"]
    assert [process.wait(60) for process in at_once] == [0] * 4
    kept = book.recall()
    assert len(kept.predictions) == len(kept.attempts) == 80 and [path.name for path in blank.parent.iterdir()] == [
        blank.name
    ]


def test_a_full_disk_leaves_no_draft_loses_nothing_and_is_told_once(blank, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    kt.predict("reload", "loads")
    with monkeypatch.context() as disk:
        disk.setattr(book.json, "dump", full)
        kt.predict("same-address", "same")
        kt.check("fix", "clear-checked")
    assert [path.name for path in blank.parent.iterdir()] == [blank.name]
    assert capsys.readouterr().out.count("No space left") == 1
    kt.predict("reload", "refused")
    assert set(json.loads(blank.read_text())["predictions"]) == {"reload", "same-address"}


@pytest.mark.parametrize("count", [3_064, 30_000])
def test_a_progress_text_can_be_given_back_whatever_its_size(count):
    rows = {
        f"offsets:{seed * 7919}": book.Attempt([book.digest(seed), book.digest(-seed)], seed % 3 == 0)
        for seed in range(count)
    }
    given = book.from_text(book.to_text(book.Progress({"reload": ["loads"]}, rows)))
    latest = dict(list(rows.items())[-len(given.attempts) :])
    assert given.attempts == latest and len(latest) >= min(count, 50_000)


def test_names_of_another_version_in_the_file_hurt_nobody(blank):
    blank.write_text(
        json.dumps({"predictions": {"gone": ["x"], "reload": ["gone"]}, "attempts": {"gone:1": [[], 1, 0]}})
    )
    assert kt.predict("reload").choice is None and "start here" in repr(kt.progress())


def test_forgetting_starts_anew():
    answered()
    kt.progress(forget=True)
    assert book.recall() == book.Progress()


def test_the_file_stands_in_the_state_folder_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("KLPTEACH_PROGRESS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert book.progress_path() == tmp_path / "klpteach" / "progress.json"


@pytest.mark.parametrize("state", ["", "here", "./here", "~/here"])
def test_a_state_folder_that_is_not_absolute_does_not_count(state, monkeypatch, tmp_path):
    monkeypatch.delenv("KLPTEACH_PROGRESS")
    monkeypatch.setenv("XDG_STATE_HOME", state)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert book.progress_path() == tmp_path / ".local" / "state" / "klpteach" / "progress.json"


@pytest.mark.parametrize("home", [None, "", "here"])
def test_without_an_absolute_home_the_one_of_the_password_database_counts(home, monkeypatch, tmp_path):
    pwd = pytest.importorskip("pwd", reason="no password database here")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=str(tmp_path)))
    for name in ("KLPTEACH_PROGRESS", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert book.progress_path() == tmp_path / ".local" / "state" / "klpteach" / "progress.json"


def test_without_any_home_answers_live_on_in_memory_and_it_is_said_once(blank, monkeypatch, tmp_path, capsys):
    pwd = pytest.importorskip("pwd", reason="no password database here")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    for name in ("KLPTEACH_PROGRESS", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "here")
    monkeypatch.chdir(tmp_path)
    kt.predict("reload", "loads")
    assert book.recall().predictions == {"reload": ["loads"]} and list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.count("there is no home folder") == 1
    kt.progress(forget=True)
    assert book.recall() == book.Progress()


@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing yet"])
def test_answers_go_through_a_symbolic_link_to_the_file_that_survives(there, blank, tmp_path):
    kept = tmp_path / "persistent" / "progress.json"
    kept.parent.mkdir()
    if there:
        kept.write_text('{"predictions": {"same-address": ["same"]}, "attempts": {}}')
    (tmp_path / "link").symlink_to(kept)
    blank.symlink_to("link")
    kt.predict("reload", "loads")
    assert blank.is_symlink() and not kept.is_symlink()
    asked = {"reload", "same-address"} if there else {"reload"}
    assert set(json.loads(kept.read_text())["predictions"]) == asked == set(book.recall().predictions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "persistent", "progress.json"]
    kt.progress(forget=True)
    assert blank.is_symlink() and book.recall() == book.Progress()


def test_a_damaged_file_behind_a_symbolic_link_is_set_aside_where_it_is(blank, tmp_path, capsys):
    kept = tmp_path / "persistent" / "progress.json"
    kept.parent.mkdir()
    kept.write_text("{")
    blank.symlink_to(kept)
    kt.predict("reload", "loads")
    assert kept.with_name("progress.json.damaged").read_text() == "{" and "damaged" in capsys.readouterr().out
    assert blank.is_symlink() and json.loads(kept.read_text())["predictions"] == {"reload": ["loads"]}


def test_committing_needs_no_widget_and_no_pandas():
    code = "import sys, klpteach as kt; kt.predict('reload', 'loads'); kt.check('fix', 'deny-removal'); kt.progress(); kt.worked('fix'); print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    assert not {"ipywidgets", "pandas", "matplotlib"} & set(said.stdout.split())


def test_what_a_notebook_shows_is_offered_by_its_package_and_fetched_when_it_is_used():
    packages = [f"klpteach.course.{name}" for name in NOTEBOOKS]
    code = f"import sys; from importlib import import_module; print([dir(import_module(name)) for name in {packages}], *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "matplotlib", "ipywidgets"} & set(done.stdout.split())
    for package in map(import_module, packages[1:]):
        assert dir(package) and all(getattr(package, name) for name in dir(package)), package
    with pytest.raises(AttributeError, match="there are"):
        _ = import_module("klpteach.course.nb06").slot


def test_questions_are_found_by_name_across_notebooks():
    assert find_question("reload").ask.startswith("nfsd_demo is loaded")


# -- glossary -----------------------------------------------------------------------------------------------------------------

FOLDER = Path(__file__).parents[2] / "notebooks"
TERMS = re.findall(r"^### (.*)$", (FOLDER / "glossary.md").read_text(), re.M)


def test_a_glossary_anchor_is_the_same_on_every_site():
    """GitHub makes anchors small, JupyterLab leaves them; both put - for a blank: so small letters, and words only."""
    assert len(TERMS) == len(set(TERMS)) > 40
    headings = re.findall(r"^#+ (.*)$", (FOLDER / "glossary.md").read_text(), re.M)
    assert len({heading.lower() for heading in headings}) == len(headings), "GitHub numbers an anchor that comes twice"
    assert all(re.fullmatch(r"[a-z0-9]+( [a-z0-9]+)*", term) for term in TERMS)


def test_every_link_into_the_glossary_has_its_term():
    anchors = {term.replace(" ", "-") for term in TERMS}
    text = "".join(path.read_text() for path in [*FOLDER.glob("*.ipynb"), FOLDER / "glossary.md"])
    assert set(re.findall(r"glossary\.md#([\w-]+)", text)) <= anchors


def test_every_link_into_the_findings_has_an_anchor_that_every_site_keeps():
    """GitHub and JupyterLab make different anchors of such headings; both keep the id of an <a>, before the heading."""
    text = (FOLDER / "findings.md").read_text()
    anchors = re.findall(r'^<a id="([a-z-]+)"></a>\n\n## \d\. ', text, re.M)
    assert len(set(anchors)) == len(re.findall(r"^## \d\. ", text, re.M)) == 6
    assert re.findall(r"\(#([^)]+)\)", text) == anchors
    others = "".join(path.read_text() for path in [*FOLDER.glob("*.ipynb"), FOLDER.parent / "README.md"])
    found = set(re.findall(r"findings\.md#([^)]+)\)", others))
    assert found and found <= set(anchors)


def test_the_glossary_keeps_the_courses_words():
    text = (FOLDER / "glossary.md").read_text()
    assert not re.search(r"\b(simply|just|obviously|of course|trivial(ly)?)\b", text, re.I)
    for address in re.findall(r"0x[0-9a-f]{9,}", text):
        assert len(address) == 18, address


# -- a file of answers that is none ---------------------------------------------------------------------------------------

ASK = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
import klpteach as kt
kt.predict("reload", "loads"), kt.progress()
print(kt.progress().text)
kt.progress(forget=True)
"""


def no_file(kind, path):
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to({"a device": "/dev/zero", "a link to a pipe": no_file("a pipe", path.with_name("pipe"))}[kind])
    return path


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a link to a pipe", "a directory"])
def test_answers_that_no_file_can_hold_live_as_long_as_the_kernel_and_one_line_says_so(kind, blank):
    no_file(kind, blank)
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == ""
    first, *_ = done.stdout.split("\n")
    assert first.startswith("Your answers are kept until this kernel stops: ") and "not a file" in first
    assert done.stdout.count("are kept until") == 1 and "klp1." in done.stdout
    assert os.path.lexists(blank), "what is no file of ours is left as it was"


def test_a_folder_of_answers_that_is_a_pipe_is_not_waited_for(blank, monkeypatch):
    os.mkfifo(blank)
    monkeypatch.setenv("KLPTEACH_PROGRESS", str(blank / "progress.json"))
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("Your answers are kept until this kernel stops: ")


def test_a_file_of_answers_that_is_too_large_is_set_aside_unread(blank, capsys):
    with blank.open("wb") as file:
        file.truncate(book._LARGEST + 1)
    assert book.recall() == book.Progress() and "was damaged" in capsys.readouterr().out
    assert blank.with_name("progress.json.damaged").stat().st_size == book._LARGEST + 1


@pytest.mark.parametrize("ask", [kt.predict, kt.exercise])
@pytest.mark.parametrize("name", ["", "x", "qqqq" * 25_000, None])
def test_an_unknown_name_is_answered_with_a_few_of_those_that_are_there(ask, name) -> None:
    with pytest.raises(kt.KlpteachError, match=r"; there are (\S+, ){5}\S+ and \d+ more\.$") as told:
        ask(name)
    assert len(str(told.value)) < 400
