"""The tables of notebook 06: the two words of a call along time, one stub, the order of calls, and slots that run out."""

from __future__ import annotations

from ...errors import KlpteachError
from ...files.klp import parse_symbol, sites
from ...files.relocation_types import REL24
from ...model.kernel import Kernel
from ...model.recording import Recording
from ...model.step import hexa
from ...reading.calls import Call, call_at, words_of
from ...reading.history import History
from ...reading.reasons import goes_to
from ...views.explorer.instructions import instruction
from ...views.style import STUB_LETTERS, STUB_MEANING
from ...views.table import Table

LIVEPATCH = "livepatch_nfsd_demo"


def words_of_a_call(recording: Recording, site: str) -> Table:
    """The two words at a call site: in the file, and after each command that was looked at (ppc64le).

    >>> from klpteach.scenarios.simulate import simulate
    >>> table = words_of_a_call(simulate("reload", arch="ppc64le"), "livepatch_nfsd_demo:.text+0xb0")
    >>> table.rows[0][2], table.rows[1][2]
    ('`0x60000000` nop', '`0xe8410018` ld r2,24(r1)')
    """
    history, rows = History(recording), []
    if plain := history.file_bytes(site, 8):
        rows.append(("(in the file)", *_two_words(*words_of(plain)), "nowhere: to itself"))
    for index, step in enumerate(recording):
        if call := call_at(history, site, index):
            errno, leads = f" → {step.errno}" if step.errno else "", _leads_to(history, site, call, index)
            rows.append((f"{index + 1} `{step.command}`{errno}", *_two_words(*call.words), leads))
    return Table(("after", "the call", "the word behind it", "the call leads to"), rows, f"The call at `{site}`")


def _two_words(call: int, after: int) -> tuple[str, str]:
    return f"`{call:#010x}` {instruction(call).split()[0]}", f"`{after:#010x}` {instruction(after)}"


def _leads_to(history: History, site: str, call: Call, index: int) -> str:
    table = history.stubs(LIVEPATCH, index)
    if call.slot is None or table is None:
        return "nowhere: to itself"
    stale = any(slot.index == call.slot and slot.state == "stale" for slot in table.slots)
    return f"{goes_to(history, site, index)}{', which is gone' if stale else ''}"


_SAYS = (
    "r11 = r2 and the upper half of the way to this stub",
    "and the lower half: r11 is this stub's own address",
    "keep the caller's r2 in its stack frame",
    "the function's address, from the end of the stub",
    "into the register that bctr jumps to",
    "jump; the return address is still the caller's",
    "not used",
)


def a_stub(slot: int, release: str = "6.1") -> Table:
    """The 40 bytes of a slot in the sample livepatch's .stubs, after the livepatch was loaded for nfsd_demo.

    Source: arch/powerpc/kernel/module_64.c, struct ppc64_stub_entry. Errors: KlpteachError for a slot that is not there.
    """
    kernel = Kernel("ppc64le", release)
    kernel.insmod("nfsd_demo.ko")
    step = kernel.insmod(f"{LIVEPATCH}.ko")
    module, size = kernel.find_module(LIVEPATCH), kernel.arch.stub_size
    raw = module.bytes_at(".stubs", slot * size, size) if module else None
    entries = (step.stubs or {})[LIVEPATCH]["entries"]
    if raw is None or not 0 <= slot < len(entries):
        raise KlpteachError(f"slot {slot}: {LIVEPATCH} has {len(entries)} slots. Try 0 to {len(entries) - 1}.")
    start = (step.sections or {})[LIVEPATCH][".stubs"] + slot * size
    *words, magic = words_of(raw[:32])
    rows = [
        (f"+{4 * n}", f"`{word:#010x}`", f"`{_stub_instruction(word)}`" if word else "", says)
        for n, (word, says) in enumerate(zip(words, _SAYS, strict=True))
    ]
    rows.append(("+28", f"`{magic:#010x}`", "", "a mark: the letters “stub”"))
    address = int.from_bytes(raw[32:], "little")
    rows.append(("+32", "", f"`{hexa(address)}`", f"the address of `{entries[slot]['symbol']}`"))
    matter = [2, 3, 5]  # keep r2, fetch the address, jump
    return Table(("at", "word", "instruction", "says"), rows, f"Slot {slot} of .stubs, at `{hexa(start)}`", matter)


def _stub_instruction(word: int) -> str:
    """The few instructions that a stub is made of, as objdump writes them."""
    low = word & 0xFFFF
    signed = low - 0x10000 if low & 0x8000 else low
    fixed = {0xF8410018: "std r2,24(r1)", 0xE98B0020: "ld r12,32(r11)", 0x7D8903A6: "mtctr r12", 0x4E800420: "bctr"}
    forms = {0x3D62: f"addis r11,r2,{signed}", 0x396B: f"addi r11,r11,{signed}"}
    return fixed.get(word) or forms.get(word >> 16, f".long 0x{word:08x}")


def order_of_calls(recording: Recording) -> Table:
    """The livepatch's calls in the order in which the kernel comes to them: falling symbol numbers, not rising places.

    Source: arch/powerpc/kernel/module_64.c, relacmp(): r_info, then r_addend, descending.
    """
    history = History(recording)
    file = history.files[f"{LIVEPATCH}.ko"]
    numbers = {
        f"{file.section_names[int(file.shdrs['info'][index])]}+{offset:#x}": symbol
        for index in file.rela_sections
        for offset, kind, symbol, _ in file.rela(index).tolist()
    }
    calls = sorted((site for site in sites(file) if site.type == REL24), key=lambda site: -numbers[site.key])
    failing, rows = history.failing(len(recording) - 1), []
    for position, site in enumerate(calls, 1):
        symbol = parse_symbol(site.symbol)
        name = symbol.name if symbol else site.symbol
        refused = f"{LIVEPATCH}:{site.key}" == failing
        says = "no nop here: refused" if refused else "not reached" if failing else ""
        rows.append((str(position), f"`{site.key}`", f"`{name}`", str(numbers[site.key]), says))
    return Table(("looked at", "the call at", "calls", "symbol number", "at the reload"), rows)


_SLOT_LEGEND = (
    "; ".join(f"{letter} {STUB_MEANING[state]}" for state, letter in STUB_LETTERS.items()) + "; | the end of the table"
)


def slots(recording: Recording, livepatch: str = LIVEPATCH) -> Table:
    """How full the table of stubs is after every attempt to load the target, and what each slot leads to.

    K: the kernel's own function. w, k: the target that is there (just written, kept). S: a load that is gone. ·: free.
    What stands behind | is past the end of the table.

    >>> from klpteach.scenarios.simulate import simulate
    >>> slots(simulate("moved", "6.12", arch="ppc64le")).rows[1][2:]
    ('11 of 11', '`KKKKKSSSwww|`')
    """
    history, rows = History(recording), []
    for index, step in enumerate(recording):
        table = history.stubs(livepatch, index)
        if table is None or not step.command.startswith(("insmod nfsd_demo", f"insmod {livepatch}")):
            continue
        letters = "".join(("|" if slot.index == table.num else "") + STUB_LETTERS[slot.state] for slot in table.slots)
        letters += "" if table.past_end else "|"
        rows.append((f"{index + 1} `{step.command}`", str(step.errno), f"{table.used} of {table.num}", f"`{letters}`"))
    return Table(("step", "errno", "slots used", "the table, slot by slot"), rows, _SLOT_LEGEND)
