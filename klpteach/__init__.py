"""klpteach: livepatch relocations, module reload and every proposal of one kernel discussion, on real module files.

The rooms, from the ground up; each imports only what stands below it (tests/test_floors.py):

    errors, version <- arguments <- files <- model <- scenarios, reading, fleet <- discussion, vm <- views <- course <- site <- cli, __init__

files (a module on disk) and model (the kernel in memory) are the library; model/__init__.py says what to read first.
Importing this package imports nothing else: each name below is fetched from its module when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .course.desk import check as check
    from .course.desk import check_fix as check_fix
    from .course.desk import check_seed as check_seed
    from .course.desk import exercise as exercise
    from .course.desk import predict as predict
    from .course.desk import progress as progress
    from .course.desk import worked as worked
    from .course.in_c import in_c as in_c
    from .course.selfcheck import self_check as self_check
    from .course.stations import station_map as station_map
    from .course.talk.talk import Talk as Talk
    from .discussion.costs import read_costs as read_costs
    from .discussion.dossier import about_proposal as about_proposal
    from .discussion.thread import read_thread as read_thread
    from .discussion.thread import read_timeline as read_timeline
    from .errors import KlpteachError as KlpteachError
    from .errors import LoadRefused as LoadRefused
    from .errors import ModuleFormatError as ModuleFormatError
    from .errors import PolicyError as PolicyError
    from .errors import RecordingError as RecordingError
    from .errors import ScenarioError as ScenarioError
    from .files.module_file import ModuleFile as ModuleFile
    from .files.samples import sample as sample
    from .fleet import Customer as Customer
    from .fleet import Fleet as Fleet
    from .fleet import run_fleet as run_fleet
    from .model.kernel import Kernel as Kernel
    from .model.load_image import load_image as load_image
    from .model.recording import Recording as Recording
    from .model.state import Machine as Machine
    from .model.step import Step as Step
    from .reading.outcome import outcome_of as outcome_of
    from .scenarios.replay import replay as replay
    from .scenarios.simulate import simulate as simulate
    from .scenarios.simulate import stories as stories
    from .views.explorer.explorer import explore as explore
    from .views.figures.consequences import consequences_picture as consequences_picture
    from .views.frames import consequences_grid as consequences_grid
    from .views.kernel_source import source as source
    from .views.legend import legend as legend
    from .views.real import try_real as try_real
    from .views.yours.dmesg import explain_dmesg as explain_dmesg
    from .views.yours.dmesg import paste as paste
    from .views.yours.upload import bring as bring
    from .vm.trial import try_patch as try_patch
    from .vm.variants.shown import patch_of as patch_of

from .version import __version__ as __version__

_WHERE = {
    "ModuleFile": "files.module_file",
    "Kernel": "model.kernel",
    "load_image": "model.load_image",
    "Recording": "model.recording",
    "Step": "model.step",
    "replay": "scenarios.replay",
    "sample": "files.samples",
    **dict.fromkeys(("simulate", "stories"), "scenarios.simulate"),
    "outcome_of": "reading.outcome",
    "Machine": "model.state",
    "read_costs": "discussion.costs",
    "about_proposal": "discussion.dossier",
    **dict.fromkeys(("read_thread", "read_timeline"), "discussion.thread"),
    "consequences_picture": "views.figures.consequences",
    "legend": "views.legend",
    "consequences_grid": "views.frames",
    "explore": "views.explorer.explorer",
    **dict.fromkeys(("Customer", "Fleet", "run_fleet"), "fleet"),
    "Talk": "course.talk.talk",
    **dict.fromkeys(("predict", "exercise", "check", "worked", "progress", "check_fix", "check_seed"), "course.desk"),
    "try_real": "views.real",
    "bring": "views.yours.upload",
    **dict.fromkeys(("explain_dmesg", "paste"), "views.yours.dmesg"),
    "self_check": "course.selfcheck",
    "try_patch": "vm.trial",
    "patch_of": "vm.variants.shown",
    "station_map": "course.stations",
    "in_c": "course.in_c",
    "source": "views.kernel_source",
    **dict.fromkeys(
        ("KlpteachError", "LoadRefused", "ModuleFormatError", "PolicyError", "RecordingError", "ScenarioError"),
        "errors",
    ),
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'klpteach' has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
