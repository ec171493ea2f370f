"""A class: one link that opens the course, and a table from the texts that students hand in, hostile ones among them."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import quopri
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import klpteach as kt
from klpteach.cli import main
from klpteach.course.classroom.link import class_link
from klpteach.course.classroom.report import class_csv, class_table, read_class
from klpteach.course.notebooks import STATIONS, notebooks
from klpteach.course.progress import Attempt, Progress, from_text, to_text
from klpteach.course.stations import hours

HUB, REPO = "https://hub.example.org", "https://git.example.org/us/klpteach"
ADA = Progress({"reload": ["loads", "refused"], "same-address": ["zero"]}, {"pc32:3": Attempt(["ab"], True, False)})


def as_mail(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


# -- the link -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notebook", [*(station.number for station in STATIONS), "talk", "05-the-bug.ipynb"])
def test_a_link_holds_repository_branch_and_a_notebook_that_is_there(notebook: str) -> None:
    parts = urlsplit(class_link(HUB, REPO, "v1.0", notebook))
    asked = {key: value for key, (value,) in parse_qs(parts.query, strict_parsing=True).items()}
    opened = asked.pop("urlpath").removeprefix("lab/tree/klpteach/")
    assert (parts.netloc, parts.path) == ("hub.example.org", "/hub/user-redirect/git-pull")
    assert asked == {"repo": REPO, "branch": "v1.0"} and (ROOT / opened).is_file()


def test_the_notebook_is_looked_for_in_the_folder_that_nbgitpuller_makes() -> None:
    """It takes what stands behind the last slash of the repository's address, an ending .git included (handlers.py)."""
    link = unquote(class_link(f"{HUB}/jupyter/", f"{REPO}.git/", "main"))
    assert link.startswith(f"{HUB}/jupyter/hub/user-redirect/git-pull?repo={REPO}.git&branch=main")
    assert "urlpath=lab/tree/klpteach.git/notebooks/00-start-here.ipynb" in link


BAD_LINKS = {
    "no address": (["hub.example.org", REPO], "--hub 'hub.example.org' is no address"),
    "another port than a number": ([f"{HUB}:x", REPO], "is no address"),
    "an address of ssh": ([HUB, "git@git.example.org:us/klpteach"], "--repo 'git@"),
    "a blank": ([f"{HUB}/a b", REPO], "is no address"),
    "a line end": ([HUB, f"{REPO}\nx"], "is no address"),
    "a page inside the hub": ([f"{HUB}/x/hub/home", REPO], f"Try: --hub {HUB}/x"),
    "somebody's server": ([f"{HUB}/user/ada/lab", REPO], f"Try: --hub {HUB}"),
    "a password": ([HUB, "https://me:secret@git.example.org/us/klpteach"], "every student would read it"),
    "a query": ([HUB, f"{REPO}?tab=readme"], "behind a ?"),
    "a host alone": ([HUB, "https://git.example.org/"], "names no repository"),
    "a branch with dots": ([HUB, REPO, "a..b"], "cannot be a branch"),
    "a branch like an option": ([HUB, REPO, "--upload-pack=x"], "cannot be a branch"),
    "no such notebook": ([HUB, REPO, "main", "17"], "no notebook '17'; there are 00, 01"),
}


@pytest.mark.parametrize("name", BAD_LINKS)
def test_what_cannot_be_a_link_for_a_class_is_one_line_that_says_why(name: str, capsys) -> None:
    values, words = BAD_LINKS[name]
    options = ("--hub", "--repo", "--branch", "--notebook")
    status = main(["class-link", *(f"{option}={value}" for option, value in zip(options, values, strict=False))])
    out, err = capsys.readouterr()
    assert status == 2 and out == "" and words in err and err.count("\n") == 1
    assert "secret" not in err


def test_readme_shows_the_link_that_the_command_gives(capsys) -> None:
    """A line of README, typed as it stands there."""
    command, shown = re.findall(
        r"^klpteach (class-link .*)\n```.*?```text\n(\S+)\n", (ROOT / "README.md").read_text(), re.M | re.S
    )[0]
    assert main(command.split()) == 0 and capsys.readouterr().out.strip() == shown


# -- the table ------------------------------------------------------------------------------------------------------------


def hand_in(folder: Path, **texts: str | bytes) -> list[str]:
    """Files as students give them to a teacher; their paths."""
    for name, text in texts.items():
        (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return [str(folder / f"{name}.txt") for name in texts]


def as_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_student_is_a_row_with_a_column_for_each_prediction_and_each_exercise(tmp_path: Path) -> None:
    (row,) = as_rows(class_csv(read_class(hand_in(tmp_path, ada=to_text(ADA)))))
    every = [f"{one.number} {name}" for one in notebooks() for name in (*one.questions, *one.exercises)]
    assert [key for key in row if key[0].isdigit()] == every
    assert {key: value for key, value in row.items() if value} == {
        "student": "ada", "predicted": "2", "right at first": "1", "solved": "1",
        "00 reload": "loads (wrong), then refused", "05 same-address": "zero (right)", "03 pc32": "seed 3: solved, 1 wrong",
    }  # fmt: skip


def test_the_short_table_counts_what_the_readers_own_table_counts(tmp_path: Path, blank: Path, capsys) -> None:
    kt.predict("reload", "refused")
    kt.check("fix", "clear-checked")
    text = kt.progress().text.splitlines()[-1]
    assert main(["progress", *hand_in(tmp_path, ada=text)]) == 0
    heads, _, there, ada, note = capsys.readouterr().out.splitlines()
    assert heads.split()[:2] == ["student", "00"] and there.startswith("(there are)") and "solved" in note
    assert ada.split()[:5] == ["ada", "1", "1", "0", "0"] and ada.split()[-3:] == ["1", "1", "1"]


LINE = to_text(ADA)
PARTS = [LINE[at : at + 30] for at in range(0, len(LINE), 30)]
WRAPPED = "\n".join(f"> {part}" for part in PARTS)
FORMS = {
    "the line": LINE,
    "a call": f'kt.progress("{LINE}")',
    "a mail that breaks lines": f"Dear teacher,\n\nhere it is: {LINE[:30]}\n{LINE[30:60]}\r\n{LINE[60:]}\n\nAda",
    "a mail that quotes it": f"Ada wrote:\n{WRAPPED}\n> Ada\n",
    "a mail that quotes it thrice": WRAPPED.replace("> ", "> >| "),
    "a quoted call": f'> kt.progress("{PARTS[0]}\n' + WRAPPED.partition("\n")[2] + '")\n',
    "quotes": f"'{LINE}'",
    "typographic quotes": f"\u201e{LINE}\u201c",
    "French quotes": f"\u00ab\u00a0{LINE}\u00a0\u00bb",
    "back-ticks": f"```\n{LINE}\n```",
    "a back-tick": f"here: `{LINE}`.",
    "Markdown": f"**{LINE}**".replace("_", "\\_").replace("-", "\\-"),
    "zero-width spaces": "\u200b".join(PARTS),
    "soft hyphens": "\u00ad".join(PARTS),
    "HTML": f"<p>{html.escape(WRAPPED)}</p>",
    "HTML, escaped twice": html.escape(html.escape(f'"{WRAPPED}"')),
    "HTML, zero-width": "&#8203;".join(PARTS) + "&nbsp;&quot;",
    "raw mail": as_mail(f"Ada\u2019s: {LINE}\n"),
    "raw mail, CRLF": as_mail(f"Ada\u2019s: {LINE}\n").replace("\n", "\r\n"),
    "raw mail, wrapped by hand": as_mail("".join(f"{part} \n" for part in PARTS)),
    "raw mail, zero-width": as_mail("\u200b".join(PARTS)),
    "raw mail of HTML": as_mail(f'<a href="x">{html.escape(WRAPPED)}</a>'),
    "blanks": " ".join(LINE),
    "tabs": "\t".join(PARTS),
    "twice": f"{LINE}\n{LINE}",
    "twice, without a blank": LINE + LINE,
    "twice, the first one cut": f"{LINE[:50]}\n{LINE}",
    "what it begins with": f"Copy from klp1. to its last letter: {LINE}",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_found_in_whatever_a_student_hands_in_and_a_reader_gives_back(form: str, tmp_path: Path) -> None:
    (student,) = read_class(hand_in(tmp_path, ada=FORMS[form]))
    assert (student.refused, student.progress) == ("", ADA) == ("", from_text(FORMS[form]))


FILES = {
    "Notepad": LINE.encode("utf-8-sig"),
    "PowerShell": LINE.encode("utf-16"),
    "iconv": LINE.encode("utf-32"),
    "UTF-16 without a mark": LINE.encode("utf-16-le"),
    "the notebooks": json.dumps(ADA.to_json(), indent=1).encode(),
}


@pytest.mark.parametrize("maker", FILES)
def test_a_file_is_read_whoever_made_it(maker: str, tmp_path: Path) -> None:
    (student,) = read_class(hand_in(tmp_path, ada=FILES[maker]))
    assert (student.refused, student.progress) == ("", ADA)


def test_of_two_texts_that_are_handed_in_together_neither_may_be_damaged(tmp_path: Path) -> None:
    damaged = LINE[:20] + ("x" if LINE[20] != "x" else "y") + LINE[21:]
    for text in (f"{LINE}\n{damaged}", f"{damaged}\n{LINE}"):
        (student,) = read_class(hand_in(tmp_path, ada=text))
        assert student.refused
        with pytest.raises(kt.KlpteachError, match="not a whole progress text"):
            from_text(text)


def test_as_many_texts_as_nobody_has_are_refused(tmp_path: Path) -> None:
    texts = [to_text(Progress({"reload": [str(number)]}, {})) for number in range(21)]
    assert from_text(" ".join(texts[:20])).predictions["reload"] == [str(number) for number in range(20)]
    with pytest.raises(kt.KlpteachError, match="Here are 21 progress texts"):
        from_text(" ".join(texts))


def test_a_shells_pipe_is_a_file_of_the_class(tmp_path: Path) -> None:
    (tmp_path / "ada.txt").write_text(LINE)
    line = f"{sys.executable} -m klpteach progress --csv <(cat ada.txt)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "loads (wrong), then refused" in done.stdout


def test_two_texts_of_one_student_are_taken_together(tmp_path: Path) -> None:
    later = to_text(Progress({"reload": ["panics"]}, {"fix:1": Attempt([], True)}))
    (student,) = read_class(hand_in(tmp_path, ada=f"{LINE}\n{later}\n"))
    assert student.progress.predictions["reload"] == ["loads", "refused", "panics"]
    assert student.progress.attempts.keys() == {"pc32:3", "fix:1"}


def test_hostile_texts_are_refused_one_by_one_and_stop_no_other(tmp_path: Path, capsys) -> None:
    nested = json.dumps({"predictions": {}, "attempts": {}}).replace("{}", "[" * 100_000)
    files = hand_in(
        tmp_path, empty="", noise=os.urandom(5000), changed=LINE[:20] + "x" + LINE[21:], half=LINE[:-4], nested=nested,
        other='{"a": 1}', many="klp1." * 100_000, ada=LINE,
    )  # fmt: skip
    assert main(["progress", *files, str(tmp_path), str(tmp_path / "gone.txt")]) == 2
    out, err = capsys.readouterr()
    refused = ["empty", "noise", "changed", "half", "nested", "other", "many", tmp_path.name, "gone"]
    assert [line.split(":")[1].strip() for line in err.splitlines()] == refused
    shown = [line.split()[0] for line in out.splitlines()[3:-1]]
    assert shown == [*refused[:7], "ada", *refused[7:]], "nobody is left out, the order is the one given"


def test_a_text_that_would_unpack_to_more_than_any_progress_is_refused(tmp_path: Path) -> None:
    import base64
    import zlib

    body = base64.urlsafe_b64encode(zlib.compress(b"[" + b" " * (30 << 20), 9)).decode().rstrip("=")
    bomb, long = f"klp1.{body}.{zlib.crc32(body.encode()):08x}", b" " * ((16 << 20) + 1)
    assert all(student.refused for student in read_class(hand_in(tmp_path, bomb=bomb, long=long)))


@given(st.text(max_size=300))
def test_no_other_text_is_taken_for_a_progress(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("class")
    students = read_class(hand_in(folder, ada=LINE, eve=text.encode("utf-8", "surrogatepass")))
    assert [(student.name, bool(student.refused)) for student in students] == [("ada", False), ("eve", True)]


def test_a_name_is_shown_as_text_and_no_spreadsheet_runs_it(tmp_path: Path) -> None:
    names = ["=1+1", "<img src=x>", "a`b` c", "\x1b[2J", '"; x,y']
    students = read_class(hand_in(tmp_path, **dict.fromkeys(names, LINE)))
    assert [row["student"] for row in as_rows(class_csv(students))] == ["'=1+1", *names[1:3], "\\x1b[2J", names[4]]
    table = class_table(students)
    assert all(name in table.to_text() for name in ("=1+1", "<img src=x>", "a`b` c", "\\x1b[2J"))
    assert "<img" not in table.to_html() and "\x1b" not in table.to_text()


def test_two_files_of_one_name_are_two_students_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        (tmp_path / name).mkdir()
    files = [*hand_in(tmp_path / "ada", progress=LINE), *hand_in(tmp_path / "bob", progress=LINE)]
    assert [Path(student.name).parent.name for student in read_class(files)] == ["ada", "bob"]


def test_answers_of_another_version_are_named_and_not_dropped(tmp_path: Path) -> None:
    rows = {f"later-exercise-{n}:1": Attempt() for n in range(30)}
    newer = Progress({"=later-question": ["a"], "reload": ["an option of later"]}, rows)
    (row,) = as_rows(class_csv(read_class(hand_in(tmp_path, ada=to_text(newer)))))
    assert row["00 reload"] == "an option of later (wrong)"
    assert row["other"].startswith("'=later-question, later-exercise-0:1") and row["other"].endswith("and 11 more")


def test_a_pattern_is_spelled_out_where_the_shell_did_not(tmp_path: Path) -> None:
    hand_in(tmp_path, ada=LINE, bob=LINE)
    assert [student.name for student in read_class([str(tmp_path / "*.txt")])] == ["ada", "bob"]
    (nobody,) = read_class([str(tmp_path / "*.md")])
    assert "cannot be read" in nobody.refused


def test_the_model_is_asked_once_for_a_class_and_not_once_a_student(tmp_path: Path, monkeypatch) -> None:
    from klpteach.course import notebooks as course

    asked: list[str] = []
    first = next(notebooks())
    counted = {name: question.__class__(question.ask, question.options, lambda: asked.append("!") or "refused", question.feedback)
               for name, question in first.questions.items()}  # fmt: skip
    monkeypatch.setattr("klpteach.course.classroom.report.notebooks", lambda: iter([first._replace(questions=counted)]))
    class_table(read_class(hand_in(tmp_path, **{f"s{n}": LINE for n in range(20)})))
    assert asked == ["!"] and course.STATIONS


# -- the teacher's page ---------------------------------------------------------------------------------------------------

PAGE = ROOT / "notebooks" / "teaching.md"


def test_the_teachers_page_lists_every_exercise_and_whether_it_has_seeds() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(([\w.-]+)\) \| `([\w.-]+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.M)
    files = {station.number: station.file for station in STATIONS}
    assert rows == [
        (one.number, files[one.number], name, exercise.title, "any" if exercise.seeded else "none: one problem")
        for one in notebooks()
        for name, exercise in one.exercises.items()
    ]


def test_the_teachers_page_has_the_minutes_of_the_stations() -> None:
    text, minutes = PAGE.read_text(), {station.number: station.minutes for station in STATIONS}
    short = [station.number for station in STATIONS if station.short]
    assert f"{', '.join(short[:-1])} and {short[-1]} | {hours(sum(minutes[n] for n in short))} |" in text
    assert (
        f"| {hours(sum(minutes.values()))} |" in text
        and f"talked through | {hours(minutes['00'] + minutes['05'])} |" in text
    )


def test_the_teachers_page_names_files_and_commands_that_are_there() -> None:
    text = PAGE.read_text()
    assert all((PAGE.parent / link).is_file() for link in re.findall(r"\]\((?!#)([^)]+)\)", text))
    for name in re.findall(r'kt\.(?:exercise|worked)\("([\w-]+)"', text):
        assert kt.exercise(name, 7)
    assert set(re.findall(r"^klpteach (\S+)", text, re.M)) == {"progress"} and "binder/zero-to-jupyterhub.yaml" in text


def test_a_text_that_cannot_be_read_counts_as_unknown_and_not_as_nothing(tmp_path: Path) -> None:
    rows = as_rows(class_csv(read_class(hand_in(tmp_path, ada=to_text(ADA), bob="garbage"))))
    counts = [[row[head] for head in ("predicted", "right at first", "solved")] for row in rows]
    assert counts == [["2", "1", "1"], ["?", "?", "?"]] and rows[1]["refused"]
