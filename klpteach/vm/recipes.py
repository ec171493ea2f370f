"""How a small kernel with CONFIG_LIVEPATCH is configured and built for each architecture: a row an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """What make is told. on, off: options beyond allnoconfig. values: options with a value. image: what is booted.

    >>> RECIPES["ppc64le"].make[:2]
    ('ARCH=powerpc', 'CROSS_COMPILE=powerpc64le-linux-gnu-')
    """

    arch: str  # make's name for it
    cross: str  # prefix of compiler and binutils; "" for the host's own
    on: tuple[str, ...]
    off: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    image: str = "vmlinux"

    @property
    def make(self) -> tuple[str, ...]:
        """make's arguments; who built it and when is left out of the image."""
        return (f"ARCH={self.arch}", *([f"CROSS_COMPILE={self.cross}"] if self.cross else []), "KBUILD_BUILD_USER=klpteach",
                "KBUILD_BUILD_HOST=klpteach", "KBUILD_BUILD_TIMESTAMP=2019-06-25", "KBUILD_BUILD_VERSION=1")  # fmt: skip

    @property
    def programs(self) -> tuple[str, ...]:
        """What has to be installed."""
        return ("make", f"{self.cross}gcc", "flex", "bison", "bc")

    @property
    def config(self) -> str:
        """The fragment that KCONFIG_ALLCONFIG names."""
        lines = [f"CONFIG_{option}=y" for option in self.on] + [f"# CONFIG_{option} is not set" for option in self.off]
        return "".join(
            f"{line}\n" for line in [*lines, *(f"CONFIG_{name}={text}" for name, text in self.values.items())]
        )


RECIPES: Mapping[str, Recipe] = {
    # VSX and FUTEX are for the C library of the agent, DYNAMIC_DEBUG for the placement lines.
    "ppc64le": Recipe(
        "powerpc", "powerpc64le-linux-gnu-",
        on=("EXPERT", "PPC64", "PPC_BOOK3S_64", "PPC_PSERIES", "CPU_LITTLE_ENDIAN", "ALTIVEC", "VSX", "SMP", "PPC_64K_PAGES",
            "PPC_RADIX_MMU", "PPC_RADIX_MMU_DEFAULT", "PPC_OF_BOOT_TRAMPOLINE", "MODULES", "MODULE_UNLOAD", "KALLSYMS",
            "KALLSYMS_ALL", "FTRACE", "FUNCTION_TRACER", "DYNAMIC_FTRACE", "LIVEPATCH", "STRICT_KERNEL_RWX",
            "STRICT_MODULE_RWX", "PRINTK", "PRINTK_TIME", "BUG", "DEBUG_BUGVERBOSE", "DYNAMIC_DEBUG", "PROC_FS",
            "PROC_KCORE", "SYSFS", "DEVTMPFS", "BLK_DEV_INITRD", "BINFMT_ELF", "TTY", "HVC_CONSOLE", "FUTEX",
            "POSIX_TIMERS", "MULTIUSER"),
        off=("PPC_POWERNV",),
    ),
    # PVH: QEMU starts vmlinux itself. RANDOMIZE_BASE, with nokaslr: modules lie where those of Debian's kernel do.
    "x86_64": Recipe(
        "x86", "",
        on=("64BIT", "EXPERT", "PRINTK", "PRINTK_TIME", "BUG", "GENERIC_BUG", "DEBUG_BUGVERBOSE", "MODULES",
            "MODULE_UNLOAD", "KALLSYMS", "KALLSYMS_ALL", "SYSFS", "PROC_FS", "PROC_KCORE", "PROC_SYSCTL", "DEVTMPFS",
            "BLK_DEV_INITRD", "BINFMT_ELF", "FUTEX", "POSIX_TIMERS", "MULTIUSER", "TTY", "SERIAL_8250",
            "SERIAL_8250_CONSOLE", "FTRACE", "FUNCTION_TRACER", "DYNAMIC_FTRACE", "UNWINDER_ORC", "LIVEPATCH",
            "DYNAMIC_DEBUG", "RELOCATABLE", "RANDOMIZE_BASE", "HYPERVISOR_GUEST", "PVH"),
    ),
    # As Debian's kernel, but for LIVEPATCH. RANDOMIZE_BASE is for the stories with KASLR.
    "arm64": Recipe(
        "arm64", "aarch64-linux-gnu-",
        on=("EXPERT", "SMP", "ARM64_4K_PAGES", "ARM64_VA_BITS_48", "HZ_100", "MODULES", "MODULE_UNLOAD", "KALLSYMS",
            "KALLSYMS_ALL", "SYSFS", "PROC_FS", "PROC_KCORE", "DEVTMPFS", "TMPFS", "SHMEM", "PRINTK",
            "PRINTK_TIME", "BUG", "DEBUG_BUGVERBOSE", "DYNAMIC_DEBUG", "STACKTRACE", "BLK_DEV_INITRD", "RD_GZIP",
            "BINFMT_ELF", "BINFMT_SCRIPT", "TTY", "SERIAL_AMBA_PL011", "SERIAL_AMBA_PL011_CONSOLE", "VIRTIO_MENU",
            "VIRTIO_MMIO", "VIRTIO_CONSOLE", "FUTEX", "POSIX_TIMERS", "MULTIUSER", "FTRACE", "FUNCTION_TRACER",
            "DYNAMIC_FTRACE", "LIVEPATCH", "STRICT_KERNEL_RWX", "STRICT_MODULE_RWX", "RANDOMIZE_BASE",
            "RANDOMIZE_MODULE_REGION_FULL", "ARM64_ERRATUM_843419", "ARM64_PTR_AUTH", "ARM64_PTR_AUTH_KERNEL",
            "ARM64_BTI", "DEBUG_INFO_NONE", "CC_OPTIMIZE_FOR_PERFORMANCE"),
        values={"NR_CPUS": "2"},
        image="arch/arm64/boot/Image",
    ),
    # Debian's own has no KALLSYMS_ALL, so no LIVEPATCH. Otherwise as that: MARCH_Z10, no expolines.
    "s390x": Recipe(
        "s390", "s390x-linux-gnu-",
        on=("EXPERT", "MARCH_Z10", "FILE_LOCKING", "MULTIUSER", "POSIX_TIMERS", "FUTEX", "HZ_100", "MODULES",
            "MODULE_UNLOAD", "KALLSYMS", "KALLSYMS_ALL", "SYSFS", "PROC_FS", "PROC_KCORE", "DEVTMPFS",
            "TMPFS", "SHMEM", "PRINTK", "PRINTK_TIME", "BUG", "DEBUG_KERNEL", "BLK_DEV_INITRD",
            "RD_GZIP", "KERNEL_GZIP", "BINFMT_ELF", "BINFMT_SCRIPT", "TTY", "CCW", "SCLP_TTY", "SCLP_CONSOLE",
            "SCLP_VT220_TTY", "SCLP_VT220_CONSOLE", "FTRACE", "FUNCTION_TRACER", "DYNAMIC_FTRACE", "LIVEPATCH",
            "STRICT_KERNEL_RWX", "STRICT_MODULE_RWX", "DEBUG_INFO_NONE", "STACKTRACE", "RELOCATABLE", "VMAP_STACK"),
        off=("DEBUG_FS", "UNIX98_PTYS", "LEGACY_PTYS", "CC_OPTIMIZE_FOR_SIZE", "MODULE_SIG", "MODVERSIONS", "NET",
             "BLOCK", "PCI", "CRASH_DUMP", "VIRTUALIZATION", "RANDOMIZE_BASE", "EXPOLINE"),
        values={"NR_CPUS": "2"},
        image="arch/s390/boot/bzImage",
    ),
}  # fmt: skip
