"""Stories told by the model for the explorer, each once: what was told before is there at once."""

from __future__ import annotations

from functools import lru_cache

from ...errors import ScenarioError
from ...files.samples import ko_dir, plain_name
from ...reading.history import History
from ...scenarios.simulate import get, simulate, stories


def titles(arch: str, also: str = "reload") -> list[tuple[str, str]]:
    """(title, name) of the stories of an architecture, and of one that is there only to be recorded if it is asked for.

    >>> titles("ppc64le")[0]
    ('remove and reload', 'reload')
    """
    course = stories(arch)
    extra = [] if also in course else [(get(also, arch).title, also)]
    return [*((story.title, name) for name, story in course.items()), *extra]


@lru_cache(maxsize=64)
def told(story: str, release: str, proposals: tuple[str, ...], arch: str) -> History:
    """A story in the model, read along time. Errors: ScenarioError (also where a module is not built), PolicyError.

    >>> told("reload", "6.1", (), "x86_64") is told("reload", "6.1", (), "x86_64")
    True
    """
    words = [word for command in get(story, arch).commands for word in command.split()]
    folder = ko_dir(arch, release)
    missing = sorted({w for w in words if w.endswith(".ko") and not (folder / plain_name(w)).is_file()})
    if missing:
        raise ScenarioError(f"this story needs {', '.join(missing)}, not built for {release} on {arch}.")
    return History(simulate(story, release, proposals, arch))
