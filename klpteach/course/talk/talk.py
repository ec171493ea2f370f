"""The talk: one idea a slide, and the keyboard alone. Core ipywidgets only.

Next (Enter or Space) goes one step on, and after a slide's last step to the next slide: the focus moves there and the page
with it. Back (Shift+Tab from Next) goes the same way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as w

from ...arguments import checked_methods
from ...views.explorer.explorer import Explorer
from ..nb06b.machines import endings
from ..notebooks import find_question
from .choice import Choice
from .costs import costs
from .cover import Cover, from_environment
from .slides import Kernels, Live, Show, Slide, Vote
from .stage import stage_style

CUTS = (20, 40)


@checked_methods()
class Talk:
    """The slides in order. A cell makes a slide and shows it; run again, it takes its own place again.

    minutes: the cut to begin with; the title page, which stands before the first slide, has the choice. Title, speaker, event
    and date of that page come from the environment, where `make talk` puts them. Errors: KlpteachError for a question that
    is not there.
    """

    def __init__(self, minutes: int = max(CUTS)) -> None:
        self.slides: dict[str, Slide] = {}
        self.minutes = Choice({f"{cut} minutes": cut for cut in CUTS}, minutes, self._count)
        self.cover = Cover(from_environment(), self.minutes)
        self.cover.gone = lambda by: self.go(self.cover, by)

    def idea(self, title: str, text: str, show: Show = "", cut: int = min(CUTS)) -> Slide:
        """A slide of words or with a picture."""
        return self._add(Slide(title, text, cut, show))

    def vote(self, title: str, question: str, cut: int = min(CUTS)) -> Slide:
        """A question of the course, by name, that the room answers."""
        return self._add(Vote(title, find_question(question), question, cut))

    def live(
        self, title: str, text: str, explorer: Explorer, kernels: Kernels | None = None, cut: int = min(CUTS)
    ) -> Slide:
        """An explorer on stage. kernels: what the arrow keys switch to, each a release and its proposals."""
        return self._add(Live(title, text, explorer, kernels or {}, cut))

    def costs(self, title: str, text: str, stories: Mapping[str, str], kernels: Kernels, cut: int = min(CUTS)) -> Slide:
        """A slide with the table of what each kernel comes to in each story (heading -> name)."""
        return self.idea(title, text, costs(stories, kernels), cut)

    def machines(self, title: str, text: str, cut: int = max(CUTS)) -> Slide:
        """A slide with the endings of the four machines."""
        return self.idea(title, text, endings(), cut)

    def _add(self, slide: Slide) -> Slide:
        if not self.slides or next(iter(self.slides)) == slide.title:
            self._open(slide)
        self.slides[slide.title] = slide
        slide.gone = lambda by: self.go(slide, by)
        self._count()
        return slide

    def _open(self, slide: Slide) -> None:
        """The title page goes before the first slide, in the same output, and takes the focus as soon as a page shows it."""
        begin: Any = self.cover.next
        slide.view = w.VBox([w.HTML(stage_style(), layout=w.Layout(display="none")), self.cover.view, slide.view])
        # not None: ipywidgets counts the views from here on, its only word that a page is there
        begin._view_count = 0
        begin.observe(lambda change: change["new"] and not change["old"] and begin.focus(), "_view_count")

    def in_cut(self) -> list[Slide]:
        """The slides of the chosen cut."""
        return [slide for slide in self.slides.values() if slide.cut <= self.minutes.value]

    def _count(self) -> None:
        shown = self.in_cut()
        for slide in self.slides.values():
            place = f"{shown.index(slide) + 1} of {len(shown)}" if slide in shown else "left out of this cut"
            mark = f" · {slide.cut} minutes only" if slide.cut > min(CUTS) else ""
            slide.stand(place + mark, slide in shown)

    def go(self, slide: Slide, by: int) -> Slide | None:
        """Give the focus to the next slide of the cut (by = 1) or the one before (-1); None at the ends."""
        order = [self.cover, *self.slides.values()]
        at = order.index(slide)
        ahead = order[at + 1 :] if by > 0 else order[:at][::-1]
        target = next((other for other in ahead if other.cut <= self.minutes.value), None)
        if target is not None:
            target.first.focus()
        return target
