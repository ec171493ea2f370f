"""klpteach: livepatch relocations, module reload and every proposal of one kernel discussion, on real module files.

Importing this package imports nothing else: each name below is fetched from its module when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conformance import replay as replay
    from .data import sample as sample
    from .elf import ModuleFile as ModuleFile
    from .errors import KlpteachError as KlpteachError
    from .errors import LoadRefused as LoadRefused
    from .errors import ModuleFormatError as ModuleFormatError
    from .errors import PolicyError as PolicyError
    from .errors import RecordingError as RecordingError
    from .errors import ScenarioError as ScenarioError
    from .image import load_image as load_image
    from .kernel import Kernel as Kernel
    from .lessons import check_fix as check_fix
    from .lessons import check_seed as check_seed
    from .lessons import predict as predict
    from .lessons import self_check as self_check
    from .recording import Recording as Recording
    from .recording import Step as Step
    from .scenarios import simulate as simulate
    from .views.explorer import explore as explore

__version__ = "0.1.0"

_WHERE = {
    "ModuleFile": "elf",
    "Kernel": "kernel",
    "load_image": "image",
    "Recording": "recording",
    "Step": "recording",
    "replay": "conformance",
    "sample": "data",
    "simulate": "scenarios",
    "explore": "views.explorer",
    **dict.fromkeys(("predict", "check_fix", "check_seed", "self_check"), "lessons"),
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
