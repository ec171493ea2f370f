"""The frame of a page: head, navigation, script; and an explorer as it stands in a page before the script has run."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

from ..scenarios.simulate import get, simulate
from ..views.explorer.panes import explorer_html
from ..views.shown import escape
from ..views.style import style
from .tellings import framed

PLACES = (("index.html#course", "Course"), ("explorer.html", "Explorer"), ("consequences.html", "Consequences"),
          ("notebooks/glossary.html", "Glossary"), ("notebooks/talk.html", "Talk"), ("publish.html", "Publish"))  # fmt: skip
_DARK = (
    "color-scheme:dark;--bg:#14171a;--fg:#e8e6e1;--soft:#aeb3b8;--line:#353b41;--edge:#7c848c;--pane:#1c2125;--link:#7cc4f5;"
    "--good:#5fd3ac;--bad:#ff9a5c;--warn:#f0b95a;--str:#9fd8a6;--good-t:#14312a;--bad-t:#3b2416;--blue-t:#172c3a;"
    "--orange-t:#33290f;--focus:#8ab4ff;--btn:#1f6fa8;--hover:#185f91"
)


def asset(name: str) -> str:
    """A file of this folder as text."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def stylesheet() -> str:
    """The site's look and the explorer's own, which takes its colours from it."""
    ours = style(live=True).removeprefix("<style>").removesuffix("</style>")
    return f"{ours}\n{asset('site.css').replace('DARK', _DARK)}"


def page(title: str, body: str, up: str = "") -> str:
    """A whole page. up: the way to the site's root, "" or "../"."""
    places = "".join(f'<a href="{up}{place}">{words}</a>' for place, words in PLACES)
    about = (
        "A course about one Linux kernel bug, byte for byte: why a livepatched module cannot be loaded a second time."
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title><meta name="description" content="{about}"><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{up}site.css"><script src="{up}site.js"></script><script src="{up}kernels.js"></script>'
        '</head><body><a class="skip" href="#main">Skip to the content</a><header class="wrap"><nav class="top" aria-label="Site">'
        f'<b><a href="{up}index.html">klpteach</a></b>{places}<button id="theme" type="button" hidden>Dark</button></nav></header>'
        f'<main id="main" class="wrap">{body}</main><footer class="wrap"><p>klpteach: a course about one discussion of the '
        "kernel's developers, July to October 2019. Code MIT, text and pictures CC BY 4.0. These pages ask no network for "
        "anything; what you answer stays in this browser.</p></footer></body></html>\n"
    )


def explorer(story: str = "reload", release: str = "6.1", proposals: Iterable[str] = (), arch: str = "x86_64",
             right: tuple[str, Iterable[str]] | None = None, step: int = 1, more: str = "") -> str:  # fmt: skip
    """An explorer: one step as a picture, which needs no script, and what the script begins with.

    step: as explore() has it, the first is 1. more: attributes.
    """
    mix, title = "+".join(proposals), get(story, arch).title
    recording = simulate(story, release, filter(None, mix.split("+")), arch)
    at = min(max(step, 1), len(recording)) - 1
    data = f'data-arch="{arch}" data-story="{escape(story)}" data-release="{release}" data-mix="{mix}" data-step="{at}"'
    if right:
        data += f' data-right="{right[0]}" data-right-mix="{"+".join(right[1])}"'
    still = framed(explorer_html(recording, at, styled=False))
    return (
        f'<section class="ex" {data} {more} aria-label="Explorer: {escape(title)}"><h2>Explorer: {escape(title)}</h2>'
        f'<div class="frame">{still}</div><p class="from"><span>Told by the model. <kbd>←</kbd> <kbd>→</kbd> <kbd>1</kbd> …: '
        "the steps</span><noscript><span>Without JavaScript this is one step, as a picture.</span></noscript></p></section>"
    )
