"""Which kernels are recorded and which stories on each: a row an architecture. Another architecture is another row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ..scenarios.course import AFTER_THE_FIX, SCENARIOS
from ..scenarios.evidence import evidence
from ..scenarios.proposals import ON_ANY_KERNEL
from ..scenarios.slots import SLOT_STORIES
from ..scenarios.stubs import STUB_STORIES
from .build import build_kernel
from .fetch import PACKAGE, fetch
from .host import HostError
from .qemu import GuestKernel, Machine
from .variants import VARIANTS

Key = tuple[str, str]  # release, variant


@dataclass(frozen=True)
class Recorded:
    """How one architecture is recorded.

    config: the options that decide lines and layout. listed: symbols of the kernel that are recorded beside those that the
    modules need; where there are none, no symbol of the kernel is. long: of a story with more steps, only the first three
    keep their symbols. exports: the first lines of vmlinux-exports.txt.
    """

    machine: Machine
    compiler: str
    kernel: Callable[[str, str], GuestKernel]
    kernels: tuple[Key, ...]
    stories: tuple[str, ...]
    config: tuple[str, ...]
    exports: str
    only: Mapping[str, tuple[Key, ...]] = field(default_factory=dict)  # stories that do not concern every kernel
    listed: tuple[str, ...] = ()
    long: int | None = None

    def concerned(self, story: str) -> tuple[Key, ...]:
        return self.only.get(story, self.kernels)

    def name(self, release: str, variant: str) -> str:
        """What a kernel is called in the name of a recording: the variant too, where there are several."""
        return f"{release}-{variant}" if any(v != "stock" for _, v in self.kernels) else release


STOCK = (("6.1", "stock"), ("6.12", "stock"), ("7.3", "stock"))
# dyndbg: the kernel says where it puts each section, also of a module that it then refuses. no_timer_check: on a loaded
# host the emulated timer may be late for the kernel's own test, which then panics.
RECORDED: Mapping[str, Recorded] = {
    "x86_64": Recorded(
        Machine("qemu-system-x86_64",
                ("-accel", "tcg", "-cpu", "max", "-serial", "file:FOLDER/console", "-serial", "file:FOLDER/agent"),
                'console=ttyS0,115200 panic=-1 loglevel=7 nokaslr no_timer_check dyndbg="func move_module +p"',
                boot=120),
        compiler="gcc", kernel=fetch, kernels=tuple((release, "stock") for release in PACKAGE),
        stories=(*SCENARIOS, *evidence(), *ON_ANY_KERNEL),
        config=("MODULE_SIG", "STRICT_MODULE_RWX", "RANDOMIZE_BASE", "MODVERSIONS"),
        exports="# what Debian's {release} kernel exports of that these modules need; addresses with nokaslr where recorded\n",
    ),
    "ppc64le": Recorded(
        Machine("qemu-system-ppc64",
                ("-M", "pseries,x-vof=on", "-cpu", "power9", "-accel", "tcg,thread=single",
                 "-chardev", "file,id=console,path=FOLDER/console", "-device", "spapr-vty,chardev=console,reg=0x30000000",
                 "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "spapr-vty,chardev=agent,reg=0x30001000"),
                'console=hvc0 panic=-1 loglevel=7 dyndbg="func move_module +p"',
                boot=400),
        compiler="powerpc64le-linux-gnu-gcc", kernel=partial(build_kernel, "ppc64le"), kernels=tuple(VARIANTS["ppc64le"]),
        stories=("reload", "late", "init-fails", "workaround", "retry", "disabled", "stacked", "cumulative",
                 *STUB_STORIES, *evidence("ppc64le")),
        only={**dict.fromkeys(("no-nop", "stacked", "cumulative", "catalogue", "catalogue-late"), STOCK),
              "edge": (("6.12", "stock"), ("6.12", "reuse"))},
        config=("STRICT_MODULE_RWX", "MPROFILE_KERNEL", "PPC_64K_PAGES", "MODULE_SIG", "MODVERSIONS"),
        exports="# what the {release} kernel built here exports of that these modules need, at the addresses of stock;\n"
                "# ftrace_caller and ftrace_regs_caller are not exported, but every module gets a stub for each\n",
        listed=("_mcount", "ftrace_caller", "ftrace_regs_caller"),
        long=9,
    ),
    "s390x": Recorded(
        Machine("qemu-system-s390x",
                ("-M", "s390-ccw-virtio", "-cpu", "max", "-accel", "tcg,thread=single",
                 "-chardev", "file,id=console,path=FOLDER/console", "-device", "sclplmconsole,chardev=console",
                 "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "sclpconsole,chardev=agent"),
                "console=ttyS0 panic=-1 loglevel=7", boot=240),
        compiler="s390x-linux-gnu-gcc", kernel=partial(build_kernel, "s390x"), kernels=tuple(VARIANTS["s390x"]),
        stories=("reload", "late", "moved", "init-fails", "workaround", "retry", "disabled", "stacked", "cumulative",
                 "dependency", "foreign-write", *AFTER_THE_FIX, *SLOT_STORIES, *evidence("s390x")),
        # What is written through an old slot lands, on 6.12, in the struct module of twin_demo: the next look is a panic.
        only={**dict.fromkeys(("stacked", "cumulative", "catalogue", "catalogue-late"),
                              (("6.1", "stock"), ("6.12", "stock"), ("7.3", "stock"))),
              **dict.fromkeys(("twin", "slot-late", "slot-init-fails"), (("6.1", "stock"), ("6.1", "rewrite"), ("6.12", "clear")))},
        config=("STRICT_MODULE_RWX", "EXPOLINE", "MODULE_SIG", "MODVERSIONS"),
        exports="# what the {release} kernel built here exports of that these modules need, at the addresses of stock\n",
    ),
}  # fmt: skip


def kernel_named(text: str) -> tuple[str, str, str]:
    """(architecture, release, variant) of RELEASE or ARCHITECTURE-RELEASE-VARIANT. Errors: HostError for one that is not recorded.

    >>> kernel_named("6.1"), kernel_named("ppc64le-6.12-reuse")
    (('x86_64', '6.1', 'stock'), ('ppc64le', '6.12', 'reuse'))
    """
    arch = next((name for name in RECORDED if text.startswith(f"{name}-")), "x86_64")
    release, _, variant = text.removeprefix(f"{arch}-").partition("-")
    key = release, variant or "stock"
    if key not in RECORDED[arch].kernels:
        known = ", ".join(RECORDED[arch].name(*key) for key in RECORDED[arch].kernels)
        raise HostError(f"no {arch} kernel {text!r}; there are {known}.")
    return arch, *key
