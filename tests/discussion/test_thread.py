"""The discussion as data: quotes are short, dates are dates, every proposal has both sides or says why not."""

from __future__ import annotations

import csv
import re
from datetime import date
from itertools import pairwise

import pytest

from klpteach.discussion import thread
from klpteach.discussion.costs import costs_of, read_costs, removable
from klpteach.discussion.dossier import about_proposal
from klpteach.errors import KlpteachError
from klpteach.files.samples import data_dir
from klpteach.model.policy import PROPOSALS, RELEASES

STATEMENTS, EVENTS = thread.read_thread(), thread.read_timeline()
MESSAGE_ID = re.compile(r"[\w.+=/-]+@[\w.-]+")


def day(text: str) -> date:
    """YYYY, YYYY-MM or YYYY-MM-DD as its first day."""
    parts = [int(part) for part in text.split("-")]
    return date(*[*parts, 1, 1][:3])


def test_a_statement_is_dated_attributed_and_quoted_in_at_most_15_words() -> None:
    for statement in STATEMENTS:
        assert len(statement.quote.split()) <= 15, statement
        assert date(2018, 1, 1) <= day(statement.date) <= date(2026, 12, 31), statement
        assert statement.position in ("for", "against", "asks") and statement.proposal in PROPOSALS, statement
        assert statement.person and statement.says and statement.where, statement
        assert not statement.message_id or MESSAGE_ID.fullmatch(statement.message_id), statement


def test_a_statement_has_a_message_id_or_says_that_it_was_no_mail() -> None:
    for statement in STATEMENTS:
        assert statement.message_id or statement.where.endswith("no mail"), statement


def test_an_event_that_was_a_mail_has_a_message_id_or_says_why_not() -> None:
    """Mails before 2019, when the list's archive begins, are known from others."""
    for event in EVENTS:
        if event.source.startswith("mail") and event.date >= "2019":
            assert event.message_id, event


def test_a_message_id_becomes_an_address_that_survives_a_browser() -> None:
    for row in (*STATEMENTS, *EVENTS):
        if row.message_id:
            assert re.fullmatch(r"https://lore\.kernel\.org/r/[\w.%=@-]+", thread.lore(row.message_id)), row


def test_statements_and_events_are_in_order_of_time() -> None:
    for rows in (STATEMENTS, EVENTS):
        days = [day(row.date) for row in rows]
        late = [b for a, b in pairwise(days) if b < a]
        assert all(later.day == 1 for later in late), (
            late
        )  # a row without a day may stand anywhere in its month or year


@pytest.mark.parametrize("name", [name for name, proposal in PROPOSALS.items() if proposal.reading_of is None])
def test_a_proposal_has_both_sides_or_says_why_not(name: str) -> None:
    sides = {statement.position for statement in thread.positions(name)} & {"for", "against"}
    if name in thread.ONE_SIDED:
        assert len(sides) < 2 and len(thread.ONE_SIDED[name]) > 20
    else:
        assert sides == {"for", "against"}


def test_the_mail_of_the_course_is_there_with_its_message_id() -> None:
    seed = "alpine.LSU.2.21.1908141256150.16696@pobox.suse.cz"
    assert [event.date for event in EVENTS if event.message_id == seed] == ["2019-08-14"]
    assert any(statement.message_id == seed for statement in STATEMENTS)


def test_the_timeline_names_the_releases_in_which_the_model_changes() -> None:
    by_commit = {event.commit: event.version for event in EVENTS if event.commit}
    assert by_commit["0c05e7bd2d01"] == by_commit["37251c7114e1"] == "6.3"
    assert RELEASES["6.3"].clear == "checked" and RELEASES["6.3"].tolerate_r2 and RELEASES["6.1"].clear == "no"
    assert by_commit["1d05334d2899"] == "5.8" and RELEASES["6.1"].early_vmlinux and not RELEASES["5.3"].early_vmlinux


def test_an_event_has_a_date_a_source_and_no_half_commit() -> None:
    for event in EVENTS:
        assert date(2014, 1, 1) <= day(event.date) <= date(2026, 12, 31) and event.what and event.source, event
        assert re.fullmatch(r"([0-9a-f]{12})?", event.commit) and re.fullmatch(r"(\d+\.\d+)?", event.version), event


def test_no_cell_begins_like_a_formula_and_no_row_has_a_stray_cell() -> None:
    for name in ("thread.csv", "timeline.csv", "costs.csv", "consequences.csv"):
        with (data_dir() / name).open(newline="") as file:
            head, *rows = csv.reader(file)
        assert rows and all(len(row) == len(head) for row in rows)
        assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)


# -- costs ------------------------------------------------------------------------------------------------------------------


def test_what_could_go_without_late_patching_adds_up() -> None:
    assert (removable("A"), removable("B"), removable()) == ((194, 129), (175, 119), (369, 248))
    in_core = [c for c in read_costs() if c.tier and c.file.startswith("kernel/livepatch/core.c")]
    assert 215 <= sum(c.removed or 0 for c in in_core) <= 223  # 219 of 1,297 lines; one row counts transition.c too


def test_line_ranges_have_as_many_lines_as_are_counted() -> None:
    """first-last ranges of 6.1.192: a slip of the pen in the table shows here."""
    for cost in read_costs():
        ranges = [part.strip().split("-") for part in cost.lines.split(",") if part.strip()]
        counted = sum(int(last[-1]) - int(last[0]) + 1 for last in ranges)
        assert not cost.tier or counted == cost.removed, cost


def test_every_cost_belongs_to_proposals_of_the_model() -> None:
    assert {name for cost in read_costs() for name in cost.proposals} <= set(PROPOSALS)
    assert costs_of("split-per-object")[0].added == 1424 and costs_of("remove-check") == ()


def test_a_table_of_another_version_is_refused_in_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "ko").mkdir()
    (tmp_path / "thread.csv").write_text("date,who\n2019-08-14,someone\n")
    monkeypatch.setenv("KLPTEACH_DATA", str(tmp_path))
    with pytest.raises(KlpteachError, match="columns"):
        thread.read_thread()
    with pytest.raises(KlpteachError, match="cannot be read"):
        thread.read_timeline()


def test_another_reading_of_a_proposal_has_what_was_said_of_that_and_says_what_it_reads_otherwise() -> None:
    for name, proposal in PROPOSALS.items():
        assert proposal.chosen.endswith("."), name
        if proposal.reading_of:
            assert about_proposal(name).statements == about_proposal(proposal.reading_of).statements
            assert name in PROPOSALS[proposal.reading_of].chosen


def test_a_proposals_page_names_a_kernel_that_had_it() -> None:
    text = str(about_proposal("clear-relocations"))
    assert re.search(
        r"ppc64le 6\.1: \d+ of \d+ stories\. .+: a kernel with this patch did so: [\w-]+--6\.1-clear\S*, step \d+", text
    )
