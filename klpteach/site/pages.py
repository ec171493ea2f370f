"""The pages that are no notebook: home, explorer, consequences, glossary, talk, publishing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..course.notebooks import notebooks
from ..discussion.consequences import read_consequences
from ..files.samples import data_dir, notebooks_dir
from ..views.shown import escape
from .cells import markdown, notebook_html, prediction, title_of
from .grid import grid_html
from .shell import asset, explorer, page
from .talk import talk_html


def lessons() -> list[Path]:
    """The course's notebooks in order, without the talk."""
    return sorted(path for path in notebooks_dir().glob("[0-9]*.ipynb"))


def questions_of(path: Path) -> list[str]:
    """The names of a notebook's predictions."""
    number = path.name.partition("-")[0]
    return [name for found in notebooks() if found.number == number for name in found.questions]


def lesson_page(path: Path) -> str:
    """One notebook, with a way to its neighbours and to running it."""
    ways = lessons()
    at = ways.index(path)
    near = [("← ", ways[at - 1])] if at else []
    near += [("", ways[at + 1])] if at + 1 < len(ways) else []
    links = "".join(
        f'<a href="{one.stem}.html">{arrow}{one.stem[:2]} {escape(title_of(one))}{"" if arrow else " →"}</a>'
        for arrow, one in near
    )
    run = f"To run it: <code>pip install klpteach[lab]</code>, <code>klpteach course DIR</code>, then open <code>{path.name}</code>."
    body = f'<article class="book">{notebook_html(path)}<p class="note">{run}</p><nav class="around" aria-label="Notebooks">{links}</nav></article>'
    return page(title_of(path), body, up="../")


def glossary_page() -> str:
    text = (notebooks_dir() / "glossary.md").read_text(encoding="utf-8")
    return page(
        "Glossary", f'<article class="book"><div class="md">{_anchors(markdown(text))}</div></article>', up="../"
    )


def findings_page() -> str:
    return _of_markdown("Findings", "findings.md")


def teaching_page() -> str:
    return _of_markdown("For teachers", "teaching.md")


def _of_markdown(title: str, name: str) -> str:
    text = (notebooks_dir() / name).read_text(encoding="utf-8")
    return page(title, f'<article class="book"><div class="md">{markdown(text)}</div></article>', up="../")


def _anchors(html: str) -> str:
    """Headings with the anchors that glossary.md promises: small letters, a dash for a blank."""

    def named(match: re.Match[str]) -> str:
        words = re.sub(r"<.*?>", "", match[3])
        slug = re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-")
        return f'<{match[1]} id="{slug}">{match[3]}</{match[1]}>'

    return re.sub(r"<(h[23])([^>]*)>(.*?)</h[23]>", named, html)


def talk_page() -> str:
    path = notebooks_dir() / "talk.ipynb"
    title = title_of(path)
    return page(title, f'<h1 class="sr">{escape(title)}</h1>{talk_html(path)}', up="../")


def explorer_page() -> str:
    body = (
        "<h1>Every story, every kernel, every two proposals</h1>"
        '<p class="lede">Choose a machine, a story and a kernel, and switch proposals on: one, or two that go together. '
        "The model has told all of it in advance; nothing is computed here.</p>"
    )
    return page("Explorer", body + explorer(more="data-address"))


def consequences_page() -> str:
    body = (
        "<h1>What each proposal comes to</h1>"
        f'<p class="lede">Every cell is a story that the model ran on one kernel: {len(read_consequences())} cells. '
        "A thick border and a star: not what whoever tells the story would wish for. A count of cells is no score.</p>"
        '<p class="note">Here livepatches are loaded by modprobe, which looks for what a module needs; in the explorer by insmod, '
        "which does not.</p>"
    )
    return page("Consequences", body + grid_html())


def publish_page() -> str:
    workflow = escape(asset("workflow.yml"))
    body = (
        '<article class="book"><h1>Publish these pages</h1><div class="md"><p>The folder is the site: copy it to any web server, or '
        "open <code>index.html</code> from a disk. No page asks for anything outside the folder, and nothing has to run on the "
        "server.</p><h2>Build it</h2><pre>make site              # in a clone: build/site\nklpteach site DIR      # with the "
        "installed package</pre><h2>On a code host</h2><p>Save this as <code>.github/workflows/site.yml</code>, and choose "
        "“GitHub Actions” as the source under Settings, Pages. It builds the site when somebody starts it, or when a version "
        "is tagged, and puts it on the project's page. It was written from the documentation and has not been run.</p>"
        f'</div><pre>{workflow}</pre><div class="md"><h2>On a server of yours</h2><pre>rsync -a --delete build/site/ '
        "SERVER:/srv/klpteach/</pre><p>Let the server compress <code>.html</code>, <code>.css</code> and <code>.js</code>; the "
        "packs of the explorers are compressed already.</p></div></article>"
    )
    return page("Publish these pages", body)


def home_page() -> str:
    """Question, explorer at the refusal, a prediction, the course, and by whose authority."""
    paths = lessons()
    stations = "".join(
        f'<li><a href="notebooks/{path.stem}.html"><b><i>{path.stem[:2]}</i> {escape(_name(path))}</b>'
        f'<span class="q">{escape(title_of(path))}</span><small data-questions="{" ".join(questions_of(path))}"></small></a></li>'
        for path in paths
    )
    hero = (
        f'<div class="hero"><div><h1>{escape(title_of(paths[0]))}</h1><p class="lede">You load a kernel module and a livepatch for '
        "it. You remove the module, and load the same file again. <b>Linux 6.1 says no.</b> A course about why, byte for byte, "
        "and about every way out that its developers argued over.</p>"
        f'<p class="cta"><a class="btn pri" href="notebooks/{paths[0].stem}.html">Start here, 10 minutes</a>'
        '<a class="btn" href="#course">The whole course</a></p><ul class="facts"><li>Nothing to install: these pages work '
        "without a network.</li><li>You answer before you see. What you answered stays in this browser.</li>"
        "<li>You need some C and a little Linux. No kernel, no root.</li></ul></div>"
        f"{explorer('reload', '6.1', step=4)}</div>"
    )
    return page(
        f"klpteach: {title_of(paths[0])}",
        f"{hero}{prediction('same-address')}"
        f'<section class="b" id="course" aria-labelledby="h-course"><h2 id="h-course">The course</h2><ol class="path">{stations}</ol>'
        '<p class="note"><button type="button" id="forget">Forget what I answered</button></p></section>'
        f"{_doors()}{_authority()}",
    )


def _name(path: Path) -> str:
    return path.stem[3:].replace("-", " ")


def _doors() -> str:
    return (
        '<section class="b" aria-labelledby="h-doors"><h2 id="h-doors">Other doors</h2><div class="doors">'
        "<div><h3>Try every way out</h3><p>Every story on every kernel, with each proposal and every two of them.</p>"
        '<p><a href="explorer.html">The explorer</a> · <a href="consequences.html">all consequences in one grid</a></p></div>'
        "<div><h3>Give the talk</h3><p>One idea a slide, by keyboard alone, with notes for the speaker.</p>"
        '<p><a href="notebooks/talk.html">The slides</a></p></div>'
        "<div><h3>Teach it</h3><p>What to set as homework, how to collect it, what takes how long.</p>"
        '<p><a href="notebooks/teaching.html">For teachers</a></p></div>'
        "<div><h3>Bring your own</h3><p>Does a target of your livepatch survive a reload? What does this log say?</p>"
        "<pre>klpteach inspect livepatch.ko --target nfsd.ko\ndmesg | klpteach explain</pre></div></div></section>"
    )


def _authority() -> str:
    recordings = len(list((data_dir() / "recordings").glob("*/*.json")))
    rows: Iterable[tuple[str, str]] = (
        ("the bytes of a relocation", "GNU ld, linking the same modules at the same addresses"),
        (
            "errno, log, addresses, bytes at every step",
            f"{recordings} recordings of real kernels under QEMU, in the package",
        ),
        ("the table of consequences", "recordings, where there is one; else the model's word"),
        ("callbacks, transitions, atomic replace", "the kernel's own livepatch selftests"),
    )
    body = "".join(f'<tr><th scope="row">{claim}</th><td>{authority}</td></tr>' for claim, authority in rows)
    return (
        '<section class="b" aria-labelledby="h-who"><h2 id="h-who">Who says so?</h2><p>What you see here is told by a model. It is '
        'held against others:</p><div class="scroll"><table class="plain"><caption>What is claimed, and by whose authority</caption>'
        f'<thead><tr><th scope="col">claim</th><th scope="col">authority</th></tr></thead><tbody>{body}</tbody></table></div></section>'
    )
