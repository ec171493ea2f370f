"""What 7.3 does otherwise than 6.12, rule by rule; recordings of it are replayed elsewhere."""

from __future__ import annotations

import pytest

from klpteach import Kernel, ModuleFile, load_image, simulate
from klpteach.files.samples import sample
from klpteach.files.write import tiny_module
from klpteach.model import arch
from klpteach.model.layout import layout_sections
from klpteach.model.memory import AddressSpace
from klpteach.model.policy import behaviour

BLOCK = 0x200000


def tiny(sections: dict[str, bytes], relocations: list[tuple[str, int, int, str, int]] = []) -> ModuleFile:  # noqa: B006
    symbols = [("here", next(iter(sections)), 0)]
    return ModuleFile(tiny_module("tiny", sections, symbols, relocations), "tiny.ko")


def bases(release: str) -> dict[str, int]:
    kernel = Kernel(release=release)
    return (kernel.insmod("nfsd_demo.ko").placement or {})["nfsd_demo"]


# -- where modules land -----------------------------------------------------------------------------------------------------


def test_text_stands_in_blocks_without_guard_pages_and_data_does_not() -> None:
    """As in the recording of `reload`: text ...400000, its init text one page behind, data at the start of the area."""
    at = bases("7.3")
    assert (at["text"], at["init_text"]) == (0xFFFFFFFFC0400000, 0xFFFFFFFFC0401000)
    assert at["data"] == bases("6.12")["text"] == 0xFFFFFFFFC0201000
    assert all(at[region] % BLOCK for region in ("data", "rodata", "init_data"))


def test_a_block_is_filled_from_below_and_a_second_one_begins_where_it_is_full() -> None:
    space = AddressSpace(0x201000, 1 << 30, block=BLOCK)
    first = space.alloc(0x1000, "a", "text")
    second = space.alloc(BLOCK - 0x2000, "b", "text")
    third = space.alloc(0x2000, "c", "text")
    assert [region.start for region in (first, second, third)] == [2 * BLOCK, 2 * BLOCK + 0x1000, 3 * BLOCK + BLOCK]
    space.free(second)
    assert space.alloc(0x3000, "d", "init_text").start == second.start


def test_data_keeps_out_of_a_block_and_text_takes_a_block_behind_data() -> None:
    space = AddressSpace(0x201000, 1 << 30, block=BLOCK)
    data = space.alloc(BLOCK, "a", "data")
    text = space.alloc(0x1000, "a", "text")
    more = space.alloc(2 * BLOCK, "b", "data")
    assert data.end < text.start == 3 * BLOCK and more.start == text.start + BLOCK + 0x1000


# -- what is relocated, and what is read-only -------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "value"), [("6.12", 0), ("7.3", 0xFFFFFFFFC0201000)])
def test_a_pointer_in_per_cpu_data_is_relocated_from_7_3_on(release: str, value: int) -> None:
    """Seen: a per-CPU pointer to a variable is zero on 6.12 and right on 7.3."""
    file = tiny({".text": bytes(16), ".data..percpu": bytes(8)}, [(".data..percpu", 0, 1, "here", 0)])
    image = load_image(file, {"text": 0xFFFFFFFFC0201000}, lambda name: 0, release)
    assert int.from_bytes(image.percpu_template.tobytes() or bytes(8), "little") == value


@pytest.mark.parametrize(("release", "region"), [("6.12", "data"), ("7.3", "ro_after_init")])
def test_static_call_sites_are_read_only_after_init_from_7_3_on(release: str, region: str) -> None:
    file = tiny({".text": bytes(16), ".static_call_sites": bytes(16)})
    file.shdrs = file.shdrs.copy()
    file.shdrs["flags"][file.section_index(".static_call_sites")] |= 1  # SHF_WRITE, as the compiler says
    laid = layout_sections(file, arch.of("x86_64"), behaviour(release))
    assert laid.places[file.section_index(".static_call_sites")][0] == region


# -- what init() returns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "errno"), [("6.12", -17), ("7.3", -16)])
def test_eexist_of_init_reaches_user_space_as_ebusy_from_7_3_on(release: str, errno: int) -> None:
    kernel = Kernel(release=release, init_errno={"nfsd_demo.ko": -17})
    assert kernel.insmod("nfsd_demo.ko").errno == errno


def test_that_a_module_is_there_already_is_still_eexist() -> None:
    kernel = Kernel(release="7.3")
    assert [kernel.insmod("nfsd_demo.ko").errno for _ in range(2)] == [0, -17]


# -- what is printed, and what sysfs shows ----------------------------------------------------------------------------------


def test_the_line_about_a_nonzero_place_names_section_entry_and_address() -> None:
    story = simulate("half-way", "7.3")
    line = next(line for line in story[-1].lines if "nonzero" in line)
    livepatch = ModuleFile.open(sample("livepatch_stacked.ko", release="7.3"))
    section = int(line.partition("for sec ")[2].partition(",")[0])
    assert livepatch.section_names[section] == ".klp.rela.nfsd_demo..text"
    site = int(livepatch.rela(section)["offset"][0])
    text = story[-1].sections["livepatch_stacked"][".text"]  # type: ignore[index]
    assert f"idx 0, type 2, loc {text + site:x}, val " in line


@pytest.mark.parametrize(("release", "order", "replace"), [("6.1", -2, -2), ("6.12", -2, 0), ("7.3", 0, 0)])
def test_a_patchs_files_in_sysfs_come_with_their_releases(release: str, order: int, replace: int) -> None:
    kernel = Kernel(release=release)
    kernel.insmod("livepatch_nfsd_demo.ko")
    folder = "/sys/kernel/livepatch/livepatch_nfsd_demo"
    assert [kernel.cat(f"{folder}/{name}").errno for name in ("stack_order", "replace")] == [order, replace]


def test_stack_order_counts_the_livepatches_in_force() -> None:
    kernel = Kernel(release="7.3")
    for name in ("nfsd_demo", "livepatch_nfsd_demo", "livepatch_stacked"):
        kernel.insmod(f"{name}.ko")
    order = "/sys/kernel/livepatch/livepatch_stacked/stack_order"
    assert kernel.cat(order).out == "2\n"
    kernel.echo(0, "/sys/kernel/livepatch/livepatch_nfsd_demo/enabled")
    assert kernel.cat(order).out == "1\n"


def test_ftrace_can_be_switched_off_up_to_6_12_unless_a_livepatch_is_in_force_and_not_on_7_3() -> None:
    switch = "/proc/sys/kernel/ftrace_enabled"
    old, new = Kernel(release="6.12"), Kernel(release="7.3")
    assert (old.echo(0, switch).errno, old.cat(switch).out) == (0, "0\n")
    old.insmod("nfsd_demo.ko")
    refused = old.insmod("livepatch_nfsd_demo.ko")
    assert refused.errno == -16 and any("failed to register ftrace handler" in line for line in refused.lines)
    assert old.echo(1, switch).errno == 0 == old.insmod("livepatch_nfsd_demo.ko").errno
    assert old.echo(0, switch).errno == -16
    assert [new.echo(0, switch).errno for _ in range(2)] == [-95, -95] and new.cat(switch).out == "1\n"
    assert sum("deprecated" in line for step in new.recording for line in step.lines) == 1
