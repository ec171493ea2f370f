"""Which kernels are recorded and which stories on each: a row an architecture. Another architecture is another row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..scenarios.course import AFTER_THE_FIX, SCENARIOS
from ..scenarios.evidence import evidence
from ..scenarios.plt import PLT_STORIES
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
    keep their symbols. exports: the first lines of vmlinux-exports.txt. variants: those that are no kernel of their own, but
    one of the others on another machine.
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
    variants: Mapping[str, tuple[str, Machine]] = field(default_factory=dict)

    def machine_for(self, variant: str) -> Machine:
        return self.variants[variant][1] if variant in self.variants else self.machine

    def kernel_for(self, release: str, variant: str) -> GuestKernel:
        """The kernel that plays a variant: built, fetched or from the cache. Errors: HostError."""
        built = self.variants[variant][0] if variant in self.variants else variant
        return replace(self.kernel(release, built), variant=variant)

    def concerned(self, story: str) -> tuple[Key, ...]:
        return self.only.get(story, self.kernels)

    def name(self, release: str, variant: str) -> str:
        """What a kernel is called in the name of a recording: the variant too, where there are several."""
        several = variant != "stock" or any(v != "stock" for _, v in self.kernels)
        return f"{release}-{variant}" if several else release


def _debians_or_built(release: str, variant: str) -> GuestKernel:
    return fetch(release) if variant == "stock" else build_kernel("x86_64", release, variant)


STOCK = (("6.1", "stock"), ("6.12", "stock"), ("7.3", "stock"))
_PPC64LE = (
    *(("6.1", variant) for variant in ("stock", "clear", "tolerate", "reuse")),
    ("6.12", "stock"),
    ("6.12", "reuse"),
    ("7.3", "stock"),
)
_ARM64 = Machine("qemu-system-aarch64",
                 ("-M", "virt,gic-version=2", "-accel", "tcg,thread=single", "-serial", "file:FOLDER/console",
                  "-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device",
                  "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "virtconsole,chardev=agent"),
                 'console=ttyAMA0 panic=-1 loglevel=7 nokaslr dyndbg="func move_module +p"',
                 boot=400, cpu="cortex-a72")  # fmt: skip
_A53 = replace(_ARM64, cpu="cortex-a53")  # QEMU's has erratum 843419
_KASLR = replace(_ARM64, cmdline=_ARM64.cmdline.replace("nokaslr ", ""))  # the device tree has a seed
_ARM64_STOCK, _POKE = (("7.3", "stock"),), (("7.3", "poke"),)
_ARM64_STORIES = ("reload", "late", "init-fails", "workaround", "retry", "disabled", "stacked", "cumulative", "foreign-write",
                  *PLT_STORIES, *evidence("arm64"))  # fmt: skip
_S390X_STOCK = (("6.1", "stock"), ("6.12", "stock"))
_S390X_MENDED = (("6.1", "rewrite"),)  # ("6.12", "clear-got") where it has been recorded
_S390X = (*_S390X_STOCK, *_S390X_MENDED)
_S390X_STORIES = ("reload", "late", "moved", "init-fails", "workaround", "retry", "disabled", "stacked", "cumulative", "dependency",
                  "foreign-write", *AFTER_THE_FIX, *SLOT_STORIES, *evidence("s390x"))  # fmt: skip
# dyndbg: the kernel says where it puts each section, also of a module that it then refuses. no_timer_check, tsc=reliable: on a
# loaded host the emulated timer may be late for the kernel's own tests. random.trust_cpu: without entropy %p has no hash.
RECORDED: Mapping[str, Recorded] = {
    "x86_64": Recorded(
        Machine("qemu-system-x86_64",
                ("-accel", "tcg", "-cpu", "max", "-serial", "file:FOLDER/console", "-serial", "file:FOLDER/agent"),
                'console=ttyS0,115200 panic=-1 loglevel=7 nokaslr no_timer_check tsc=reliable '
                'random.trust_cpu=on dyndbg="func move_module +p"',
                boot=400),
        compiler="gcc", kernel=_debians_or_built, kernels=tuple((release, "stock") for release in PACKAGE),
        stories=(*SCENARIOS, *evidence(), *ON_ANY_KERNEL),
        # create-diff-object of kpatch 0.9.10 cannot read what 7.3's kbuild makes
        only=dict.fromkeys((name for name in evidence() if name.startswith("kpatch-")), STOCK[:2]),
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
        compiler="powerpc64le-linux-gnu-gcc", kernel=partial(build_kernel, "ppc64le"), kernels=_PPC64LE,
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
    "arm64": Recorded(
        _ARM64, compiler="aarch64-linux-gnu-gcc", kernel=partial(build_kernel, "arm64"),
        kernels=tuple(("7.3", variant) for variant in ("stock", "kaslr", "a53", "poke", "poke-a53")),
        variants={"kaslr": ("stock", _KASLR), "a53": ("stock", _A53), "poke-a53": ("poke", _A53)},
        stories=_ARM64_STORIES,
        only={**dict.fromkeys(_ARM64_STORIES, _ARM64_STOCK),
              **dict.fromkeys(("reload", "moved"), (*_ARM64_STOCK, ("7.3", "kaslr"))),
              "veneer": (*_ARM64_STOCK, ("7.3", "a53")), "far-one-call": (*_ARM64_STOCK, *_POKE),
              "far-moves": _POKE, "far-same": _POKE, "veneer-again": (("7.3", "poke-a53"),)},
        config=("STRICT_MODULE_RWX", "RANDOMIZE_BASE", "RANDOMIZE_MODULE_REGION_FULL", "ARM64_ERRATUM_843419",
                "DYNAMIC_FTRACE_WITH_CALL_OPS", "ARM64_PTR_AUTH_KERNEL", "MODULE_SIG", "MODVERSIONS"),
        exports="# what the {release} kernel built here exports of that these modules need, at the addresses of stock (nokaslr);\n"
                "# ftrace_caller is not exported, but every module has a way to it\n",
        listed=("ftrace_caller",),
        long=9,
    ),
    "s390x": Recorded(
        Machine("qemu-system-s390x",
                ("-M", "s390-ccw-virtio", "-cpu", "max", "-accel", "tcg,thread=single",
                 "-chardev", "file,id=console,path=FOLDER/console", "-device", "sclplmconsole,chardev=console",
                 "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "sclpconsole,chardev=agent"),
                "console=ttyS0 panic=-1 loglevel=7", boot=240),
        compiler="s390x-linux-gnu-gcc", kernel=partial(build_kernel, "s390x"), kernels=_S390X,
        stories=_S390X_STORIES,
        # What is written through an old slot lands, on 6.12, in the struct module of twin_demo: the next look is a panic.
        only={**dict.fromkeys(_S390X_STORIES, _S390X_STOCK),
              **dict.fromkeys(("reload", "empty-place", "slot-write", "slot-pointer", "slot-half-way", "new-build", "plt64"), _S390X),
              **dict.fromkeys(("slot-back", "slot-way-out"), _S390X_STOCK[:1]),
              **dict.fromkeys(("twin", "swapped", "slot-late", "slot-init-fails"), (_S390X_STOCK[0], *_S390X_MENDED))},
        config=("STRICT_MODULE_RWX", "EXPOLINE", "MODULE_SIG", "MODVERSIONS"),
        exports="# what the {release} kernel built here exports of that these modules need, at the addresses of stock\n",
    ),
}  # fmt: skip


TABLE = ("6.1", "6.12")  # the releases of the table of consequences


def table_kernels(arch: str) -> tuple[Key, ...]:
    """The kernels of variants/ that answer the table, the unmodified ones among them; what they tell is packed."""
    return tuple(key for key in VARIANTS[arch] if key[0] in TABLE)


def kernel_named(text: str) -> tuple[str, str, str]:
    """(architecture, release, variant) of RELEASE or ARCHITECTURE-RELEASE-VARIANT. Errors: HostError for one that is not recorded.

    >>> kernel_named("6.1"), kernel_named("ppc64le-6.12-reuse")
    (('x86_64', '6.1', 'stock'), ('ppc64le', '6.12', 'reuse'))
    """
    arch = next((name for name in RECORDED if text.startswith(f"{name}-")), "x86_64")
    release, _, variant = text.removeprefix(f"{arch}-").partition("-")
    key, how = (release, variant or "stock"), RECORDED[arch]
    if key not in (there := dict.fromkeys((*how.kernels, *table_kernels(arch)))):
        known = ", ".join(how.name(*one) for one in there)
        raise HostError(f"no {arch} kernel {text!r}; there are {known}.")
    return arch, *key
