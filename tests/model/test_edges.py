"""The edges: what the kernel and kmod answer to what nobody should ask. Authority: the C library, and the kernel's sources by name."""

from __future__ import annotations

import errno as errno_of_c
import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klpteach import Kernel, ModuleFile
from klpteach.files.elf_h import SHF_EXECINSTR, SHF_WRITE
from klpteach.files.write import ElfImage, tiny_module
from klpteach.model import errno, kmod
from klpteach.model.errno import EBUSY, EEXIST, EINVAL, ENOENT, ENOEXEC, ENOMEM, ERANGE, Refused
from klpteach.model.memory import AddressSpace
from klpteach.model.params import kstrtobool, param_set
from klpteach.model.policy import no_livepatch
from klpteach.model.step import Step
from klpteach.model.sysfs import FTRACE_ENABLED
from klpteach.reading.verdict import verdict

LP = "livepatch_nfsd_demo"
ENABLED = f"/sys/kernel/livepatch/{LP}/enabled"
BLOCK = "/sys/module/busy_demo/parameters/block_transition"
HUGE = ModuleFile(tiny_module("huge", {".text": b"\xc3", ".bss": 40 << 20}), "huge.ko")


def said(kernel: Kernel) -> str:
    return str(verdict(kernel.recording, len(kernel.recording) - 1))


def module(name: str, depends: str = "", **modinfo: str) -> bytes:
    return tiny_module(name, {".text": b"\xc3"}, modinfo={"depends": depends, **modinfo})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, depends in {"aa": "bb", "bb": "aa", "cc": "aa", "self": "self", "dash_ed": ""}.items():
        (tmp_path / f"{name.replace('_', '-')}.ko").write_bytes(module(name, depends))
    return tmp_path


# -- memory -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "line"),
    [
        ("6.1", f"vmap allocation for size {(40 << 20) + 0x4000} failed: use vmalloc=<size> to increase size"),
        ("6.12", "execmem: unable to allocate memory"),
    ],
)
def test_a_load_for_which_there_is_no_room_gives_back_what_it_took(release: str, line: str) -> None:
    kernel = Kernel(release=release)
    kernel.insmod("filler4k.ko")
    kernel.memory.alloc(980 << 20, "somebody", "core")
    before = [(region.start, region.kind) for region in kernel.memory]
    for _ in range(2):
        step = kernel.insmod(HUGE)
        assert (step.errno, step.lines[-1]) == (ENOMEM, line)
        assert [(region.start, region.kind) for region in kernel.memory] == before
    assert "No hole in the module area" in said(kernel)


def test_a_hole_needs_room_for_its_guard_page_and_the_last_may_end_where_the_area_ends() -> None:
    space = AddressSpace(0x10000, 0x20000)
    first, second, _ = (space.alloc(0x1000, "a", "core") for _ in range(3))
    assert (first.start, second.start) == (0x10000, 0x12000)
    space.free(second)
    assert space.alloc(0x2000, "b", "core").start == 0x16000  # between the others there is no room for a guard page
    assert space.alloc(0x1000, "b", "core").start == 0x12000
    assert space.alloc(0x7000, "c", "core").end == 0x20000
    with pytest.raises(Refused):
        space.alloc(1, "d", "core")


# -- words --------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the words of Linux' C library")
def test_every_errno_has_the_words_of_the_c_library() -> None:
    assert set(errno.WORDS) == set(errno.NAMES.values())
    names = {name for name in vars(errno) if name.startswith("E") and name.isupper()}
    assert {name: getattr(errno, name) for name in names} == {name: -getattr(errno_of_c, name) for name in names}
    if "glibc" in os.confstr("CS_GNU_LIBC_VERSION"):
        assert {number: errno.strerror(number) for number in errno.NAMES} == {n: os.strerror(-n) for n in errno.NAMES}


def test_the_tools_have_words_of_their_own_for_a_few_errnos_and_the_librarys_for_the_rest() -> None:
    refused = {number: Step("", errno=number) for number in (ENOMEM, ENOEXEC, EEXIST, errno.ESRCH, ENOENT)}
    assert (
        kmod.insmod(refused[ENOMEM], "m.ko")[1]
        == "insmod: ERROR: could not insert module m.ko: Cannot allocate memory\n"
    )
    assert kmod.insmod(refused[errno.ESRCH], "m.ko")[1].endswith(": Module has wrong symbol version\n")
    assert kmod.modprobe(refused[ENOEXEC], "m")[1] == "modprobe: ERROR: could not insert 'm': Exec format error\n"
    assert kmod.modprobe(refused[EEXIST], "m") == (0, "")  # without --first-time
    assert kmod.rmmod(refused[ENOENT], "m")[1].endswith(": No such file or directory\n")


# -- values -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "means"),
    [(v, True) for v in ("1", "y", "Y", "yes", "on", "ON", "t", "1\n")]
    + [(v, False) for v in ("0", "n", "N", "off", "Of", "00", "false")]
    + [(v, None) for v in ("", "2", "o", "-1", " 1", "ok")],
)
def test_a_flag_is_what_its_first_letters_say(value: str, means: bool | None) -> None:
    assert kstrtobool(value) is means


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("int", "0x1F", "31"), ("int", "010", "8"), ("int", "-19", "-19"), ("int", "+5\n", "5"), ("int", "-2147483648", "-2147483648"),
        ("int", "2147483648", ERANGE), ("int", "-2147483649", ERANGE), ("uint", "4294967295", "4294967295"), ("uint", "4294967296", ERANGE),
        ("byte", "255", "255"), ("byte", "256", ERANGE), ("ulong", "18446744073709551615", "18446744073709551615"),
        ("uint", "-1", EINVAL), ("int", "1_0", EINVAL), ("int", "0b1", EINVAL), ("int", "09", EINVAL), ("int", "0x", EINVAL),
        ("int", "-+5", EINVAL), ("int", "", EINVAL), ("int", " 5", EINVAL), ("int", None, EINVAL), ("charp", None, EINVAL),
        ("bool", None, "Y"), ("bool", "off", "N"), ("invbool", "1", "Y"), ("hexint", "16", "0x000010"), ("hexint", "0", "00000000"), ("bool", "2", EINVAL), ("charp", "any thing", "any thing"),
    ],
)  # fmt: skip
def test_a_parameter_takes_what_kernel_params_c_takes(kind: str, value: str | None, kept: str | int) -> None:
    try:
        assert param_set(kind, value) == kept
    except Refused as refused:
        assert refused.errno == kept


def test_a_parameter_that_a_module_does_not_declare_is_ignored_with_a_line() -> None:
    kernel = Kernel()
    step = kernel.insmod("nfsd_demo.ko", "pre_patch_ret=-19 async_probe nothing")
    assert step.errno == 0
    assert step.lines[-2:] == [
        f"nfsd_demo: unknown parameter '{name}' ignored" for name in ("pre_patch_ret", "nothing")
    ]
    assert kernel.insmod(f"{LP}.ko", "pre_patch_ret=-19").errno == 0  # nor does it decide what a callback returns


def test_every_bad_parameter_gets_its_line_and_the_last_one_decides() -> None:
    step = Kernel().insmod("livepatch_callbacks.ko", "pre-patch-ret=no pre_patch_ret=99999999999")
    assert step.errno == ERANGE
    assert step.lines[-2:] == [
        "livepatch_callbacks: `no' invalid for parameter `pre-patch-ret'",
        "livepatch_callbacks: `99999999999' invalid for parameter `pre_patch_ret'",
    ]


@pytest.mark.parametrize("off", ["0", "N", "off", "00"])
def test_a_livepatch_is_disabled_by_every_word_for_no(off: str) -> None:
    kernel = Kernel()
    kernel.insmod(f"{LP}.ko")
    assert (kernel.echo("maybe", ENABLED).errno, kernel.echo("yes", ENABLED).errno) == (EINVAL, EINVAL)
    assert kernel.echo(off, ENABLED).errno == 0
    assert said(kernel).startswith("· Livepatch disabled.")


# -- transitions --------------------------------------------------------------------------------------------------------------


def blocked() -> Kernel:
    """livepatch_busy is loaded, and a task sleeps in the function that it patches."""
    kernel = Kernel()
    kernel.insmod("busy_demo.ko", "block_transition")
    assert kernel.insmod("livepatch_busy.ko").errno == 0
    assert kernel.klp.transition
    return kernel


def test_force_with_0_does_nothing() -> None:
    kernel = blocked()
    force = "/sys/kernel/livepatch/livepatch_busy/force"
    assert (kernel.echo(0, force).errno, kernel.klp.transition is None) == (0, False)
    assert said(kernel).startswith("· Nothing was forced.")
    assert kernel.echo("x", force).errno == EINVAL
    assert (kernel.echo(1, force).errno, kernel.klp.transition) == (0, None)
    assert said(kernel).startswith("· Forced.")
    assert kernel.echo(1, force).errno == EINVAL  # nothing is in transition any more
    assert kernel.echo(0, force).errno == 0


def test_a_transition_that_nothing_blocks_completes_whatever_the_command_returned() -> None:
    kernel = blocked()
    kernel.find_module("busy_demo").parameters["block_transition"] = "N"  # the task woke up
    assert kernel.rmmod("nothing").errno == ENOENT
    assert kernel.klp.transition is None
    assert kernel.recording[-1].lines[-1] == "livepatch: 'livepatch_busy': patching complete"


def test_a_write_to_a_parameter_is_told_as_that() -> None:
    kernel = blocked()
    assert kernel.echo("n", BLOCK).errno == 0
    assert said(kernel) == "· Written. The parameter block_transition of busy_demo is n now."


def test_a_livepatch_that_is_not_enabled_is_not_said_to_be() -> None:
    kernel = Kernel()
    kernel.insmod("nfsd_demo.ko")
    kernel.insmod(f"{LP}.ko")
    kernel.transition_blocked = True
    kernel.echo(0, ENABLED)
    assert "keeps the transition waiting" in said(kernel)
    assert kernel.rmmod(LP).errno == errno.EAGAIN
    assert "enabled: disable it" not in said(kernel) and "keeps the transition waiting" in said(kernel)
    kernel.echo(1, f"/sys/kernel/livepatch/{LP}/force")
    assert kernel.rmmod(LP).errno == EBUSY or "stays for good" in said(kernel)


# -- files ----------------------------------------------------------------------------------------------------------------------


def livepatch(objects: list[str], functions: list[str], name: str = "lp") -> ModuleFile:
    """A livepatch whose every object replaces these functions; nothing of it is loaded."""
    data, strings, pointers = bytearray(0x1000), bytearray(b"\0"), [(0, "__this_module", 0), (8, "data", 0x100)]

    def text(string: str) -> int:
        strings.extend(string.encode() + b"\0")
        return len(strings) - len(string) - 1

    for number, obj in enumerate(objects):
        funcs = 0x800 + 0x400 * number
        pointers += [(0x100 + 168 * number, "strings", text(obj)), (0x108 + 168 * number, "data", funcs)]
        for place, function in enumerate(functions):
            at = funcs + 152 * place
            symbol, _, position = function.partition(",")
            pointers += [(at, "strings", text(symbol)), (at + 8, "text", 0)]
            data[at + 16 : at + 24] = struct.pack("<Q", int(position or 0))
    symbols = [("text", ".text", 0), ("data", ".data", 0), ("strings", ".rodata.str", 0), ("__this_module", ".gnu.linkonce.this_module", 0),
               ("klp_enable_patch", None, 0)]  # fmt: skip
    sections = {".text": bytes(16), ".data": bytes(data), ".rodata.str": bytes(strings)}
    relocations = [(".data", at, 1, symbol, addend) for at, symbol, addend in pointers]
    return ModuleFile(tiny_module(name, sections, symbols, relocations, {"livepatch": "Y"}), f"{name}.ko")


@pytest.mark.parametrize(
    ("objects", "functions", "folder", "name"),
    [
        (["one", "one"], ["f"], "lp", "one"),
        (["one"], ["f", "f,1"], "lp/one", "f,1"),  # position 0 and position 1 are one folder
        (["one"], ["f,2", "g", "f,2"], "lp/one", "f,2"),
    ],
)
def test_what_a_livepatch_names_twice_has_no_place_in_sysfs(
    objects: list[str], functions: list[str], folder: str, name: str
) -> None:
    for release, prefix in (("6.1", ""), ("6.12", "kobject: ")):
        kernel = Kernel(release=release)
        step = kernel.insmod(livepatch(objects, functions))
        assert (step.errno, step.modules, kernel.klp.patches, list(kernel.memory)) == (EEXIST, [], [], [])
        assert step.lines[-2:] == [
            f"sysfs: cannot create duplicate filename '/kernel/livepatch/{folder}/{name}'",
            f"{prefix}kobject_add_internal failed for {name} with -EEXIST, "
            "don't try to register things with the same name in the same directory.",
        ]
        assert f"It names {name} twice" in said(kernel)


def test_two_positions_of_one_name_are_two_functions() -> None:
    assert Kernel().insmod(livepatch(["one", "two"], ["f", "f,2"])).errno == 0


def test_a_section_that_is_written_and_run_is_refused_since_5_7() -> None:
    image = ElfImage.parse(module("wx"))
    index = next(number for number, section in enumerate(image.sections) if section.name == ".text")
    image.sections[index].flags |= SHF_WRITE | SHF_EXECINSTR
    file = ModuleFile(image.to_bytes(), "wx.ko")
    for release in ("6.1", "6.12"):
        step = Kernel(release=release).insmod(file)
        assert step.errno == ENOEXEC
        assert step.lines[-1] == f"wx: section .text (index {index}) has invalid WRITE|EXEC flags"
    assert Kernel(release="5.3").insmod(file).errno == 0


@pytest.mark.parametrize(("release", "base"), [("6.1", 0x35000), ("6.12", 0x39000)])
def test_per_cpu_data_begins_where_it_did_on_the_recorded_kernels(release: str, base: int) -> None:
    kernel = Kernel(release=release)
    kernel.insmod("percpu_demo.ko")
    values = kernel.find_module("percpu_demo").image.symbols
    section = kernel.find_module("percpu_demo").file.section_index(".data..percpu")
    inside = kernel.find_module("percpu_demo").file.symtab["shndx"] == section
    assert min(values[inside].tolist()) == base


# -- names ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nope", "no-pe"])
def test_a_module_without_a_file_is_modprobes_to_refuse(name: str) -> None:
    kernel = Kernel()
    step = kernel.modprobe(name)
    assert (step.errno, step.dmesg) == (ENOENT, [])
    found = name.replace("-", "_")
    assert step.out == f"modprobe: FATAL: Module {found} not found in directory /lib/modules/$(uname -r)\n"
    assert found in said(kernel)


def test_a_dash_in_a_modules_name_is_an_underscore(folder: Path) -> None:
    kernel = Kernel(ko=folder)
    assert [kernel.modprobe("dash_ed").errno, kernel.rmmod("dash-ed").errno, kernel.run("modprobe dash-ed").errno] == [
        0,
        0,
        0,
    ]
    assert kernel.run("rmmod dash-ed").errno == 0 and said(kernel) == "✓ Removed. Its memory is given back."
    assert kernel.modules == []


def test_a_module_that_depends_on_itself_is_loaded_and_a_circle_is_depmods_to_refuse(folder: Path) -> None:
    kernel = Kernel(ko=folder)
    assert kernel.modprobe("self").errno == 0
    step = kernel.modprobe("cc")
    assert (step.errno, [mod.name for mod in kernel.modules]) == (ENOENT, ["self"])
    assert step.out == (
        "depmod: ERROR: Cycle detected: aa -> bb -> aa\n"
        "modprobe: FATAL: Module cc not found in directory /lib/modules/$(uname -r)\n"
    )


def test_a_chain_of_six_hundred_modules_is_loaded_from_its_end(tmp_path: Path) -> None:
    for number in range(600):
        (tmp_path / f"m{number}.ko").write_bytes(module(f"m{number}", f"m{number + 1}" if number < 599 else ""))
    planned = kmod.plan(Kernel(ko=tmp_path), "m0")
    assert [planned.wanted[0].name, planned.wanted[-1].name, len(planned.wanted)] == ["m599", "m0", 600]


@pytest.mark.parametrize(
    ("release", "there"), [("6.16", False), ("6.17", True), ("6.18", True), ("7.0", True), ("5.19", False)]
)
def test_arm64_has_livepatch_from_6_17_on(release: str, there: bool) -> None:
    assert (no_livepatch(release, "arm64") is None) is there


def test_lsmod_shows_the_newest_module_first_with_its_size_and_who_uses_it(folder: Path) -> None:
    kernel = Kernel(ko=folder)
    for name, depends in (("owner", ""), ("user", "owner")):
        symbols = [(f"use_{name}", ".text", 0)]
        kernel.insmod(
            ModuleFile(tiny_module(name, {".text": b"\xc3"}, symbols, modinfo={"depends": depends}), f"{name}.ko")
        )
    owner, user = kernel.modules
    user.use(owner)
    size = owner.image.layout.core_size
    assert kmod.lsmod(kernel).splitlines() == [
        "Module                  Size  Used by",
        f"user                {size:>8}  0",
        f"owner               {size:>8}  1 user",
    ]


def test_rmmod_says_what_the_kernel_answered() -> None:
    assert kmod.rmmod(Step("", errno=0), "m") == (0, "")
    busy = "rmmod: ERROR: could not remove module m: Device or resource busy\n"
    assert kmod.rmmod(Step("", errno=EBUSY), "m") == (1, busy)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), max_size=8), st.integers(0, 40))
def test_many_pages_at_once_lie_where_one_after_the_other_would(taken: list[tuple[int, int]], count: int) -> None:
    spaces = [AddressSpace(0x10000, 0x10000 + 64 * 0x1000) for _ in range(2)]
    refused = [False, False]
    for space in spaces:
        for page, size in taken:
            at = 0x10000 + page * 0x1000
            if at + size * 0x1000 <= space.end and not any(at < r.end and r.start < at + size * 0x1000 for r in space):
                space.alloc(size * 0x1000, "m", "core", at=at)
    try:
        spaces[0].fill(count, "vmalloc", "fill")
    except Refused:
        refused[0] = True
    for _ in range(count):
        try:
            spaces[1].alloc(0x1000, "vmalloc", "fill")
        except Refused:
            refused[1] = True
            break
    assert refused[0] == refused[1]
    assert [(r.start, r.size, r.kind) for r in spaces[0]] == [(r.start, r.size, r.kind) for r in spaces[1]]


@pytest.mark.parametrize("release", ["6.1", "6.12", "7.3"])
def test_ftrace_enabled_is_a_number_as_the_real_kernels_answered(release: str) -> None:
    """Asked of Debian's three kernels under QEMU, one write and one read after the other; any number but 0 is on."""
    kernel = Kernel(release=release)
    answers = {"x": -22, "y": -22, "2": 0, "on": -22, "-1": 0, "1": 0, "0": 0 if release < "7" else -95}
    shown = {"x": "1", "y": "1", "2": "2", "on": "2", "-1": "-1", "1": "1", "0": "0" if release < "7" else "1"}
    for value, errno_of_write in answers.items():
        assert kernel.echo(value, FTRACE_ENABLED).errno == errno_of_write, value
        assert kernel.cat(FTRACE_ENABLED).out == f"{shown[value]}\n", value
