"""Notebook 02: what it shows of a file is what readelf shows, and its claims are what the kernel did."""

import re
import shutil
import subprocess
from collections import Counter

import pandas as pd
import pytest

import klpteach as kt
from klpteach.course.nb02 import FileBytes, entry_fields, foreign_symbols, who_writes
from klpteach.course.nb02 import questions as nb02
from klpteach.files.klp import livepatch_sections, sites
from klpteach.scenarios.recorded import evidence

SEEDS = range(1, 21)
pytestmark = pytest.mark.usefixtures("blank")
count = nb02.EXERCISES["count-by-object"]
LIVEPATCH = kt.sample("livepatch_nfsd_demo.ko")
readelf = pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf (binutils) is not installed")


def of(seed):
    """The file that a seed asks about."""
    name, arch, release = re.search(r'kt\.sample\("(.+?)", "(.+?)", "(.+?)"\)', count.problem(seed).ask).groups()
    return kt.sample(name, arch, release)


def run(*arguments):
    return subprocess.run(["readelf", *arguments], capture_output=True, text=True, check=True).stdout


# -- readelf is the authority -----------------------------------------------------------------------------------------------


def counted_by_readelf(path):
    heads = re.findall(
        r"Relocation section '\.klp\.rela\.([^.']+)\.[^']*' at offset \S+ contains (\d+) entr", run("-rW", path)
    )
    total = Counter()
    for name, number in heads:
        total[name] += int(number)
    return dict(total)


@readelf
@pytest.mark.parametrize("seed", SEEDS)
def test_the_answer_is_what_readelf_counts(seed):
    assert count.problem(seed).answer == counted_by_readelf(of(seed))


@readelf
def test_every_candidate_file_is_counted_as_readelf_counts_it():
    for path in nb02._candidates():
        assert nb02.per_object(kt.ModuleFile.open(path)) == counted_by_readelf(path), path


@readelf
@pytest.mark.parametrize("section", [".text", ".text.unlikely", ".data"])
def test_the_bytes_shown_are_those_that_readelf_dumps(section):
    words = re.findall(r"^  0x[0-9a-f]+ ((?:[0-9a-f]{2,8} )+)", run("-x", section, LIVEPATCH), re.M)
    theirs = "".join("".join(words).split())
    rows = repr(FileBytes(kt.ModuleFile.open(LIVEPATCH), section)).split("\n")[1:]
    ours = "".join(re.findall(r"[0-9a-f]{2}(?=[ \])([]|$)", " ".join(row[6:55] for row in rows)))
    assert ours == theirs


@readelf
def test_the_entry_shown_is_the_one_that_readelf_lists_first():
    offset, info, kind = re.search(
        r"'\.klp\.rela\.nfsd_demo\.\.text'.*?\n.*?\n(\S+)\s+(\S+)\s+(\S+)", run("-rW", LIVEPATCH)
    ).groups()
    rows = entry_fields(kt.ModuleFile.open(LIVEPATCH), ".klp.rela.nfsd_demo..text").rows
    told = [bytes.fromhex(row[1].strip("`"))[::-1].hex() for row in rows]
    assert (told[0], told[2] + told[1]) == (offset, info) and kind in rows[1][2]


# -- what the notebook claims -----------------------------------------------------------------------------------------------


def test_every_place_that_waits_holds_zeros_in_the_file():
    for path in nb02._candidates():
        file = kt.ModuleFile.open(path)
        if file.arch == "x86_64":
            for section in {site.section for site in sites(file)}:
                view = FileBytes(file, section)
                for hole in view.holes:
                    assert not any(view.body[hole.offset : hole.offset + hole.width]), (path, hole)


def test_square_brackets_are_the_livepatch_relocations_and_round_ones_the_others():
    view = FileBytes(kt.ModuleFile.open(LIVEPATCH))
    text = repr(view)
    assert text.count("[0x") == sum(hole.livepatch for hole in view.holes) == 6
    assert text.count("(0x") == sum(not hole.livepatch for hole in view.holes) == 10


def test_the_flag_that_is_missing_goes_unnoticed_on_a_real_kernel():
    catalogue = evidence("catalogue--6.1--REFUSED")
    sound, broken = catalogue[28], catalogue[73]
    assert broken.command.endswith("+section-not-livepatch.ko") and broken.errno == sound.errno == 0
    P = broken.sections["livepatch_nfsd_demo"][".text"] + 0x17 if broken.sections else 0xFFFFFFFFC0206017
    assert broken.bytes_at("livepatch_nfsd_demo:.text+0x17") == (-4 - P & 0xFFFFFFFF).to_bytes(4, "little")
    assert sound.bytes_at("livepatch_nfsd_demo:.text+0x17").hex(" ") == "f5 cf ff ff"


def test_the_position_in_a_name_leads_to_the_second_function_on_a_real_kernel():
    step = evidence("reload--6.1--REFUSED")[1]
    dups = [row[0] for row in step.symbols["nfsd_demo"] if row[2] == "demo_dup"]
    (found,) = (row[0] for row in step.symbols["livepatch_nfsd_demo"] if "demo_dup,2" in row[2])
    assert dups == [0xFFFFFFFFC0201000, 0xFFFFFFFFC0201100] and found == dups[1]


def test_the_questions_answers_are_what_file_and_model_say():
    assert {name: question.answer() for name, question in nb02.QUESTIONS.items()} == {
        "bytes-on-disk": "zeros",
        "two-sections": "2",
        "sympos-2": "second",
        "depends": "nothing",
        "no-flag": "wrong",
    }


# -- views on files from elsewhere ------------------------------------------------------------------------------------------


def test_a_section_or_entry_that_is_not_there_is_named():
    file = kt.ModuleFile.open(LIVEPATCH)
    with pytest.raises(kt.KlpteachError, match=r"no section \.txt"):
        FileBytes(file, ".txt")
    for section, number in ((".text", 0), (".klp.rela.nfsd_demo..text", 6), ("nowhere", 0)):
        with pytest.raises(kt.KlpteachError, match="no entry"):
            entry_fields(file, section, number)


def test_names_of_a_hostile_file_cannot_become_markup():
    from klpteach.files.write import klp_convert, tiny_module

    evil = "<script>x"
    raw = tiny_module(
        "m",
        {".text": bytes(8)},
        [(f".klp.sym.rela.n.n.{evil},0", None, 0)],
        [(".text", 1, 4, f".klp.sym.rela.n.n.{evil},0", -4)],
    )
    file = kt.ModuleFile(klp_convert(raw), f"{evil}.ko")
    (name,) = (file.section_names[i] for i in livepatch_sections(file))
    views = (FileBytes(file), entry_fields(file, name), foreign_symbols(file))
    for view in (*views, who_writes(file)):
        assert "<script" not in view._repr_html_()
    assert all(evil in repr(view) for view in views)


# -- the exercise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_right_count_is_accepted_in_any_form_and_a_wrong_one_gets_a_hint(seed):
    file, right = kt.ModuleFile.open(of(seed)), count.problem(seed).answer
    names = file.relocations.section.astype(str)
    series = names[names.str.startswith(".klp.rela.")].str.split(".").str[3].value_counts()
    text = ", ".join(f"{name}: {number}" for name, number in right.items())
    for answer in (right, Counter(right), pd.Series(right), series, text, str(right)):
        assert kt.check("count-by-object", answer, seed).mark == "✓"
    first = next(iter(right))
    assert "by 24" in kt.check("count-by-object", {**right, first: right[first] + 7}, seed).text
    assert "value_counts" in kt.check("count-by-object", {"vmlinuz": 1}, seed).text
    assert kt.check("count-by-object", 3, seed).mark == "✗"


@pytest.mark.parametrize("seed", SEEDS)
def test_counting_sections_or_everything_is_told_apart(seed):
    problem = count.problem(seed)
    for wrong, words in problem.slips:
        assert kt.check("count-by-object", wrong, seed).text.startswith(words)
    assert problem.slips


def test_the_same_seed_is_the_same_problem_and_the_seeds_differ():
    from klpteach.course.exercise import _made

    asked = [count.problem(seed).ask for seed in SEEDS]
    _made.cache_clear()
    assert asked == [count.problem(seed).ask for seed in SEEDS] and len(set(asked)) >= 8
