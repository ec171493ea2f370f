"""Is everything here? What a reader's machine has and lacks for this course, and how to mend it."""

from __future__ import annotations

from importlib.util import find_spec

from ..files.samples import data_dir
from ..scenarios.simulate import simulate
from ..views.reply import Reply

_NEEDED = {"elftools": "pyelftools", "numpy": "numpy", "pandas": "pandas", "matplotlib": "matplotlib", "ipywidgets": "ipywidgets"}  # fmt: skip


def self_check() -> Reply:
    """Look for the packages and the sample modules, and run one story.

    >>> self_check()
    ✓ Everything is here. The sample modules are found and the model runs.
    """
    missing = [package for name, package in _NEEDED.items() if find_spec(name) is None]
    if missing:
        return Reply("✗", "Something is missing.", f"pip install {' '.join(missing)}, then restart the kernel.")
    data_dir()  # says what to do where the sample modules are not found
    if [step.errno for step in simulate("reload", "6.1")] != [0, 0, 0, -8]:
        return Reply("✗", "The model is broken.", "Its reload does not end as on a real kernel. Try: make test")
    return Reply("✓", "Everything is here.", "The sample modules are found and the model runs.")
