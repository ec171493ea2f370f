"""Split livepatches: what user space does in the kernel's stead when a part is replaced, refused or has to wait."""

from __future__ import annotations

from klpteach import Kernel
from klpteach.model.errno import EBUSY


def kernel_of(arch: str = "x86_64", release: str = "6.1") -> Kernel:
    return Kernel(arch, release, ["split-per-object"])


def names(kernel: Kernel) -> list[str]:
    return sorted(module.name for module in kernel.modules)


def test_a_part_that_an_atomic_replace_has_ended_is_removed_at_once() -> None:
    kernel = kernel_of()
    for command in ("insmod nfsd_demo.ko", "modprobe livepatch_cumul1", "modprobe livepatch_cumul2"):
        assert kernel.run(command).errno == 0
    assert names(kernel) == ["livepatch_cumul2__nfsd_demo", "nfsd_demo"]


def test_a_target_whose_part_is_refused_while_it_waits_leaves_nothing_behind() -> None:
    kernel = kernel_of()
    kernel.modprobe("livepatch_nfsd_demo")
    kernel.insmod_in_background("nfsd_demo.ko")
    (patched,) = kernel.modules
    kernel.init_errno["livepatch_nfsd_demo.ko"] = EBUSY
    assert kernel.wait("nfsd_demo").errno == EBUSY
    assert names(kernel) == [] and patched.state == "Unloading"
    assert all(obj.mod is None for patch in kernel.klp.patches for obj in patch.objects)


def test_where_a_boots_first_transition_waits_the_second_part_is_refused_and_both_go() -> None:
    """As recorded: spanning--6.1-split-per-object--REFUSED (ppc64le); 6.12's first transition is over at once."""
    for release, errno in (("6.1", EBUSY), ("6.12", 0)):
        kernel = kernel_of("ppc64le", release)
        kernel.insmod("nfsd_demo.ko"), kernel.insmod("lockd_demo.ko")
        assert kernel.modprobe("livepatch_cumul1").errno == errno
        parts = ["livepatch_cumul1__lockd_demo", "livepatch_cumul1__nfsd_demo"] if not errno else []
        assert names(kernel) == [*parts, "lockd_demo", "nfsd_demo"]


def test_only_the_first_transition_of_a_boot_waits() -> None:
    kernel = kernel_of("ppc64le")
    kernel.insmod("nfsd_demo.ko"), kernel.modprobe("livepatch_nfsd_demo"), kernel.rmmod("nfsd_demo")
    kernel.insmod("lockd_demo.ko"), kernel.insmod("nfsd_demo.ko")
    assert kernel.modprobe("livepatch_cumul1").errno == 0
