"""The kernel's own livepatch selftests as peers: their scripts say what to do and what dmesg must show; the model does it.

The scripts are read from Debian's linux-source-6.1 package where it can be had. What their test modules print from
their own code is declared here in Python; everything else is the model's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oracle import SELFTESTS, kernel_source

from klpteach import Kernel, ModuleFile
from klpteach.files.write import tiny_module
from klpteach.model import kmod, messages
from klpteach.vm.host import HostError

SCRIPTS = ("test-callbacks.sh", "test-livepatch.sh", "test-state.sh")


# -- the scripts --------------------------------------------------------------------------------------------------------------


def scripts() -> Path:
    """The folder of the scripts. Errors: HostError."""
    return kernel_source() / SELFTESTS


def blocks(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """(name, commands, expected lines) of every test of a script, its variables replaced."""
    variables = dict(re.findall(r"^(MOD_\w+)=(\w+)$", text, re.M))

    def plain(part: str) -> str:
        return re.sub(r"\$\{?(MOD_\w+)\}?", lambda match: variables[match[1]], part)

    for part in text.split("\nstart_test ")[1:]:
        body, _, rest = part.partition('check_result "')
        name, _, commands = body.partition("\n")
        yield (
            name.strip('"'),
            [plain(line).strip() for line in commands.splitlines()],
            plain(rest.partition('"\n')[0]).splitlines(),
        )


def cases() -> list[object]:
    try:
        folder = scripts()
    except (HostError, OSError) as error:
        return [pytest.param("", [], [], marks=pytest.mark.skip(reason=f"no linux-source-6.1: {error}"))]
    found = [block for script in SCRIPTS for block in blocks((folder / script).read_text())]
    return [pytest.param(*block, id=block[0]) for block in found]


# -- the test modules ---------------------------------------------------------------------------------------------------------

DEMO, DEMO2, MOD, BUSY = (f"test_klp_callbacks_{name}" for name in ("demo", "demo2", "mod", "busy"))
LIVEPATCHES: dict[str, dict[str | None, list[str]]] = {
    DEMO: {None: [], MOD: [], BUSY: ["busymod_work_func"]},
    DEMO2: {None: []},
    "test_klp_livepatch": {None: ["cmdline_proc_show"]},
    "test_klp_atomic_replace": {None: ["meminfo_proc_show"]},
    **{f"test_klp_state{number}": {None: []} for number in ("", "2", "3")},
}
STATES = {"test_klp_state": 1, "test_klp_state2": 2, "test_klp_state3": 2}  # the version of the state they change
PARAMETERS = {
    DEMO: "pre_patch_ret:int",
    DEMO2: "replace:int",
    "test_klp_atomic_replace": "replace:int",
    BUSY: "block_transition:bool",
}


def livepatch(name: str, objects: dict[str | None, list[str]]) -> ModuleFile:
    """A module with a struct klp_patch, laid out as the compiler would, every pointer a relocation."""
    data, strings, relocations = bytearray(0x1000), bytearray(b"\0"), []

    def pointer(at: int, symbol: str, addend: int = 0) -> None:
        relocations.append((".data", at, 1, symbol, addend))

    def text(string: str) -> int:
        strings.extend(string.encode() + b"\0")
        return len(strings) - len(string) - 1

    pointer(0, "__this_module")
    pointer(8, "data", 0x100)
    if name in STATES:
        pointer(16, "data", 0x80)
        data[0x80:0x8C] = struct.pack("<QI", 1, STATES[name])
        data[24] = 1  # cumulative: replace
    funcs = 0x800
    for number, (obj, functions) in enumerate(objects.items()):
        if obj:
            pointer(0x100 + 168 * number, "strings", text(obj))
        pointer(0x108 + 168 * number, "data", funcs)
        for function in functions:
            pointer(funcs, "strings", text(function))
            pointer(funcs + 8, "text")
            funcs += 152
        funcs += 152
    symbols = [("text", ".text", 0), ("data", ".data", 0), ("strings", ".rodata.str", 0), ("__this_module", ".gnu.linkonce.this_module", 0),
               ("klp_enable_patch", None, 0)]  # fmt: skip
    sections = {".text": bytes(16), ".data": bytes(data), ".rodata.str": bytes(strings)}
    return ModuleFile(tiny_module(name, sections, symbols, relocations, modinfo(name, livepatch="Y")), f"{name}.ko")


def target(name: str) -> ModuleFile:
    """A module with one function that ftrace can take over."""
    sections = {".text": bytes(32), "__mcount_loc": bytes(8)}
    symbols = [("busymod_work_func", ".text", 0)]
    return ModuleFile(
        tiny_module(name, sections, symbols, [("__mcount_loc", 0, 1, "busymod_work_func", 0)], modinfo(name)),
        f"{name}.ko",
    )


def modinfo(name: str, **more: str) -> dict[str, str]:
    return {"intree": "Y", **({"parmtype": PARAMETERS[name]} if name in PARAMETERS else {}), **more}


# -- what their own code prints -----------------------------------------------------------------------------------------------


PRINTK = messages.Message(messages.INFO, "a module's own code", "{module}: {text}")


def say(module: str, text: str) -> Callable[[Kernel], None]:
    return lambda kernel: kernel.log(PRINTK(module=module, text=text))


def callback(module: str, obj: str, kind: str, took_over: set[str]) -> Callable[[Kernel], int]:
    states = {"Live": "[MODULE_STATE_LIVE] Normal state", "Loading": "[MODULE_STATE_COMING] Full formed, running module_init",
              "Unloading": "[MODULE_STATE_GOING] Going away"}  # fmt: skip

    def run(kernel: Kernel) -> int:
        mod = kernel.find_module(obj)
        where = "vmlinux" if obj == "vmlinux" else f"{obj} -> {states[mod.state]}" if mod else "?"
        say(module, f"{kind}_callback: {where}")(kernel)
        if module in STATES:
            loglevel(kernel, module, kind, took_over)
        return int(kernel.parameter(module, "pre_patch_ret")) if kind == "pre_patch" else 0

    return run


def loglevel(kernel: Kernel, module: str, kind: str, took_over: set[str]) -> None:
    """The system state that test_klp_state* change: who allocated space for it, and who takes it over."""
    others = [patch for patch in kernel.klp.patches if patch.name != module and patch.name in STATES]
    function, alone, taking_over = {
        "pre_patch": (
            "allocate_loglevel_state",
            "allocating space to store console_loglevel",
            "space to store console_loglevel already allocated",
        ),
        "post_patch": ("fix_console_loglevel", "fixing console_loglevel", "taking over the console_loglevel change"),
        "pre_unpatch": ("restore_console_loglevel", "restoring console_loglevel", ""),
        "post_unpatch": ("free_loglevel_state", "freeing space for the stored console_loglevel", ""),
    }[kind]
    if kind == "pre_patch":
        (took_over.add if others else took_over.discard)(module)
    taken = module in took_over and taking_over
    say(module, f"{function}: {taking_over if taken else alone}")(kernel)


class Harness:
    """functions.sh: runs the commands of a script and keeps the log that check_result() looks at."""

    def __init__(self) -> None:
        self.kernel, self.log = Kernel(release="6.1"), list[str]()
        took_over: set[str] = set()  # livepatches that found the system state changed already
        self.kernel.dynamic_debug = True
        for name, objects in LIVEPATCHES.items():
            for obj in objects if name.startswith("test_klp_callbacks") or name in STATES else ():
                for kind in ("pre_patch", "post_patch", "pre_unpatch", "post_unpatch"):
                    self.kernel.callbacks[name, obj or "vmlinux", kind] = callback(
                        name, obj or "vmlinux", kind, took_over
                    )
        self.kernel.module_code = {(MOD, "init"): say(MOD, f"{MOD}_init"), (MOD, "exit"): say(MOD, f"{MOD}_exit"),
                            (BUSY, "init"): self.busy_init, (BUSY, "exit"): self.busy_exit}  # fmt: skip

    def busy_init(self, kernel: Kernel) -> None:
        say(BUSY, f"{BUSY}_init")(kernel)
        say(BUSY, "busymod_work_func enter")(kernel)
        if kernel.parameter(BUSY, "block_transition") not in "1Yy":
            say(BUSY, "busymod_work_func exit")(kernel)

    def busy_exit(self, kernel: Kernel) -> None:
        if kernel.parameter(BUSY, "block_transition") in "1Yy":
            say(BUSY, "busymod_work_func exit")(kernel)
        say(BUSY, f"{BUSY}_exit")(kernel)

    def run(self, line: str) -> None:
        match line.split():
            case [("load_mod" | "load_lp" | "load_lp_nowait" | "load_failing_mod"), name, *parameters]:
                self.load(name, " ".join(parameters))
            case ["disable_lp", name]:
                self.echo(0, f"/sys/kernel/livepatch/{name}/enabled")
            case [("unload_lp" | "unload_mod"), name]:
                self.log.append(f"% rmmod {name}")
                self.log += self.kernel.rmmod(name).lines
            case ["set_pre_patch_ret", name, value]:
                self.echo(int(value), f"/sys/module/{name}/parameters/pre_patch_ret")
            case ["grep", "'live", "patched'", path, *_]:
                self.read(Path(path).name)

    def load(self, name: str, parameters: str) -> None:
        file = livepatch(name, LIVEPATCHES[name]) if name in LIVEPATCHES else target(name)
        self.log.append(f"% modprobe {name} {parameters}".strip())
        step = self.kernel.insmod(file, parameters)
        self.log += step.lines
        self.log += kmod.modprobe(step, name)[1].splitlines()

    def echo(self, value: int, path: str) -> None:
        self.log.append(f"% echo {value} > {path}")
        self.log += self.kernel.echo(value, path).lines

    def read(self, path: str) -> None:
        """Reading /proc/cmdline or /proc/meminfo runs the topmost function, which says whose it is."""
        stack = self.kernel.klp.func_stacks.get(self.kernel.vmlinux_function(f"{path}_proc_show"))
        for patch in self.kernel.klp.patches:
            if stack and any(func is stack[-1] for obj in patch.objects for func in obj.funcs):
                self.log.append(f"{patch.name}: this has been live patched")

    def result(self) -> list[str]:
        """What check_result() filters out of dmesg."""
        ours = [line for line in self.log if "livepatch:" in line or "test_klp" in line]
        return [line for line in ours if "tainting kernel" not in line and "taints kernel" not in line]


@pytest.mark.parametrize(("name", "commands", "expected"), cases())
def test_the_model_prints_what_the_kernels_selftest_expects(
    name: str, commands: list[str], expected: list[str]
) -> None:
    harness = Harness()
    for command in commands:
        harness.run(command)
    assert harness.result() == expected


def test_all_the_selftests_are_read() -> None:
    try:
        folder = scripts()
    except (HostError, OSError) as error:
        pytest.skip(f"no linux-source-6.1: {error}")
    counts = [len(list(blocks((folder / script).read_text()))) for script in SCRIPTS]
    assert counts[0] == 11 and all(counts), counts
