"""Every story on every kernel, told in advance by the model: what an explorer without a kernel can show.

A pack holds one story on one release with every mix of proposals: JSON, then the pieces that its frames are made of, with NUL
between them, deflated; base64 in a script, because a page that was opened from a disk may run scripts but may not read files.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import combinations
from typing import Any

from ..files.samples import ko_dir
from ..model import policy
from ..model.arch import ARCHITECTURES
from ..model.recording import Recording
from ..reading.differences import seen
from ..reading.history import History
from ..reading.verdict import verdict
from ..scenarios.simulate import has_files, simulate, stories
from ..views.explorer.panes import explorer_html
from ..views.explorer.two_kernels import side_html

_PATTERN = re.compile(r"\bkx[0-9a-f]{8}\b")  # a hatch's id; site.js makes it one of its own on the page
_SEAM = re.compile(r"(?=<(?:div|svg|tr|text|rect|path)\b)")  # frames are cut here: most pieces are in many of them
HATCH = "kxhatch"


@lru_cache
def mixes(arch: str) -> list[tuple[str, ...]]:
    """The kernels that are told of a release: as it is, each proposal alone, every two that go together.

    >>> mixes("x86_64")[:3]
    [(), ('remove-check',), ('deny-removal',)]
    """
    names = policy.available(arch)
    pairs = (pair for pair in combinations(names, 2) if policy.possible(pair, arch))
    return [(), *((name,) for name in names), *pairs]


@lru_cache
def tellings(arch: str) -> list[tuple[str, str]]:
    """(story, release) of all that can be told on an architecture: those whose modules are there."""
    return [
        (name, release)
        for name, story in stories(arch).items()
        for release in policy.RELEASES
        if has_files(story, ko_dir(arch, release))
    ]


def told(arch: str, story: str, release: str) -> tuple[dict[str, Any], list[str]]:
    """Head and frames of a pack.

    Head: mixes, from names with + between to the number of a run; runs, each a list of steps as step_row() has them. Kernels
    on which a story comes out the same, to the byte, share a run, and equal frames are one.
    """
    runs: dict[str, int] = {}
    rows: list[list[Any]] = []
    frames: dict[str, int] = {}
    found: dict[str, int] = {}
    for mix in mixes(arch):
        recording = simulate(story, release, mix, arch)
        key = json.dumps([step.to_json() for step in recording])
        if key not in runs:
            runs[key] = len(runs)
            rows.append(list(run(recording, frames)))
        found["+".join(mix)] = runs[key]
    return {"mixes": found, "runs": rows}, list(frames)


def run(recording: Recording, frames: dict[str, int]) -> Iterable[list[Any]]:
    """The steps of a story as rows; frames that are new get the next number in `frames`."""
    history = History(recording)
    for index in range(len(recording)):
        yield step_row(history, index, frames)


def step_row(history: History, index: int, frames: dict[str, int]) -> list[Any]:
    """[command, frame alone, frame of one of two, fingerprint, symbol, kind, headline, reason] of a step."""
    recording = history.recording
    pictures = explorer_html(recording, index, history=history, styled=False), side_html(history, index)
    alone, beside = (frames.setdefault(framed(html), len(frames)) for html in pictures)
    judged = verdict(recording, index, history)
    mark = zlib.crc32(repr(seen(recording[index])).encode())  # equal where a reader sees no difference
    return [recording[index].command, alone, beside, mark, judged.symbol, judged.kind, judged.headline, judged.because]


def framed(html: str) -> str:
    """A picture as a frame: no live region in what is replaced at each step, headings below the explorer's own.

    >>> framed('<h4 role="status">dmesg</h4>')
    '<h3>dmesg</h3>'
    """
    plain = html.replace(' role="status"', "").replace("<h4>", "<h3>").replace("</h4>", "</h3>")
    return _PATTERN.sub(HATCH, plain)


def packed(head: dict[str, Any], frames: Iterable[str]) -> str:
    """A pack as base64 of raw deflate. Each frame is a list of numbers of pieces, and each piece is there once."""
    pieces: dict[str, int] = {}
    made = [[pieces.setdefault(piece, len(pieces)) for piece in _SEAM.split(frame)] for frame in frames]
    body = "\0".join(
        [json.dumps({**head, "frames": made}, ensure_ascii=False, separators=(",", ":")), *pieces]
    ).encode()
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return base64.b64encode(squeeze.compress(body) + squeeze.flush()).decode()


def unpacked(text: str) -> tuple[dict[str, Any], list[str]]:
    """Head and frames of what packed() made.

    >>> unpacked(packed({"mixes": {}}, ["<p>one</p>", "<p>one</p><div>two</div>"]))
    ({'mixes': {}}, ['<p>one</p>', '<p>one</p><div>two</div>'])
    """
    first, *pieces = zlib.decompress(base64.b64decode(text), -15).decode().split("\0")
    head = json.loads(first)
    return head, ["".join(pieces[number] for number in frame) for frame in head.pop("frames")]


def pack_script(name: Name) -> str:
    """The script that hands a pack (architecture, story, release) to the page that asked for it."""
    return f"klp.pack({json.dumps('/'.join(name))},{json.dumps(packed(*told(*name)))})\n"


Name = tuple[str, str, str]  # architecture, story, release: a pack's


def names(only: Collection[str] = ()) -> list[Name]:
    """Every pack there is. only: of these stories."""
    return [(arch, *one) for arch in ARCHITECTURES for one in tellings(arch) if not only or one[0] in only]


def kernels(wanted: Iterable[Name]) -> dict[str, Any]:
    """What the controls offer: per architecture its stories with their releases, its proposals, and which do not go together.

    >>> kernels([("x86_64", "reload", "6.1")])["x86_64"]["stories"]
    {'reload': ['remove and reload', ['6.1']]}
    """
    found: dict[str, Any] = {}
    for arch, name, release in wanted:
        if arch not in found:
            found[arch] = {"stories": {}, **_proposals(arch)}
        found[arch]["stories"].setdefault(name, [stories(arch)[name].title, []])[1].append(release)
    return found


def _proposals(arch: str) -> dict[str, Any]:
    there = policy.available(arch)
    labels = {name: [policy.PROPOSALS[name].label, policy.PROPOSALS[name].summary] for name in there}
    refused = {f"{a}+{b}": reason for a in there for b in there if a != b and (reason := _why_not(a, b, arch))}
    return {"proposals": labels, "refused": refused}


def _why_not(name: str, other: str, arch: str) -> str | None:
    return policy.why_impossible(name, [other], arch) or policy.why_impossible(other, [name], arch)
