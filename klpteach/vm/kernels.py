"""The stories that concern ppc64le, and on which kernels each is recorded."""

from __future__ import annotations

from collections.abc import Mapping

from ..scenarios.course import SCENARIOS
from ..scenarios.evidence import evidence
from ..scenarios.scenario import Scenario
from ..scenarios.stubs import STUB_STORIES
from .qemu import Machine
from .variants import VARIANTS

PSERIES = Machine(
    "qemu-system-ppc64",
    ("-M", "pseries,x-vof=on", "-cpu", "power9", "-accel", "tcg,thread=single",
     "-chardev", "file,id=console,path=FOLDER/console", "-device", "spapr-vty,chardev=console,reg=0x30000000",
     "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "spapr-vty,chardev=agent,reg=0x30001000"),
    'console=hvc0 panic=-1 loglevel=7 dyndbg="func move_module +p"',
)  # fmt: skip
RECORDED = ("reload", "late", "init-fails", "workaround", "retry", "disabled", "stacked", "cumulative")
STORIES: Mapping[str, Scenario] = {
    **{name: SCENARIOS[name] for name in RECORDED},
    **STUB_STORIES,
    **evidence("ppc64le"),
}

KERNELS = tuple(VARIANTS)
KERNELS_OF: Mapping[str, tuple[tuple[str, str], ...]] = {
    **{name: KERNELS for name in STORIES},
    **{
        name: (("6.1", "stock"), ("6.12", "stock"))
        for name in ("no-nop", "stacked", "cumulative", "catalogue", "catalogue-late")
    },
    "edge": (("6.12", "stock"), ("6.12", "reuse")),
}
