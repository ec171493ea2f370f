"""The words of a call (ppc64le: two) as instructions, before and after a step.

The words that this story is about are decoded here, as objdump prints them; any other is given to capstone where it is
installed (`pip install klpteach[disasm]`), and stays a number where it is not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...files.relocation_types import MASK64, NOP
from ...model import arch as architectures
from ...model.step import hexa
from ...reading.calls import Call, call_at
from ...reading.history import History
from ...reading.reasons import goes_to
from ...reading.steps import nop_line
from ..shown import escape


def instruction(word: int, address: int = 0, arch: str = "ppc64le") -> str:
    """An instruction in words, as objdump -d writes it.

    word: its 32 bits; address: where it is, for a branch's target. A word that nobody knows comes out as .long.
    Source: Power ISA v3.0B, D-, DS- and I-form; Arm ARM, C6.2 (adrp, add, b, bl, br).

    >>> instruction(0xb0ffffe1, 0xffff8000786b6018, "arm64"), instruction(0xd61f0200, 0, "arm64")
    ('adrp x1, 0xffff8000786b3000', 'br x16')
    """
    known = _known_arm64 if arch == "arm64" else _known
    return known(word, address) or _capstone(word, address, arch) or f".long 0x{word:08x}"


def _known_arm64(word: int, address: int) -> str | None:
    """What calls, addresses and entries of .plt are made of."""
    cpu = architectures.of("arm64")
    if (target := cpu.branch_target(word, address)) is not None:
        return f"{'bl' if word >> 31 else 'b'} {hexa(target)}"
    rd, rn, low = word & 31, word >> 5 & 31, word >> 10 & 0xFFF
    if word & 0x9F000000 == 0x90000000:
        pages = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
        page = (address & ~0xFFF) + ((pages - (pages >> 20 << 21)) << 12)
        return f"adrp x{rd}, {hexa(page & MASK64)}"
    if word & 0xFFC00000 == 0x91000000 and 31 not in (rd, rn):
        return f"add x{rd}, x{rn}, #{low:#x}"
    return f"br x{rn}" if word & 0xFFFFFC1F == 0xD61F0000 else {0xD503201F: "nop", 0xD65F03C0: "ret"}.get(word)


def _known(word: int, address: int) -> str | None:
    if word == NOP:
        return "nop"
    target = architectures.of("ppc64le").branch_target(word, address)
    if target is not None:
        return f"{'bl' if word & 1 else 'b'} {hexa(target)}"
    opcode, rt, ra, low = word >> 26, word >> 21 & 31, word >> 16 & 31, word & 0xFFFF
    signed = low - 0x10000 if low & 0x8000 else low
    if opcode == 58 and low & 3 == 0 and rt == 2:
        return f"ld r2,{signed}(r{ra})"
    if opcode in (14, 15) and rt == 2 and ra:
        return f"{'addi' if opcode == 14 else 'addis'} r2,r{ra},{signed}"
    return None


@lru_cache
def _engine(arch: str) -> Any:
    try:
        import capstone
    except ImportError:
        return None
    if arch == "arm64":
        return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    return capstone.Cs(capstone.CS_ARCH_PPC, capstone.CS_MODE_64 | capstone.CS_MODE_LITTLE_ENDIAN)


def _capstone(word: int, address: int, arch: str) -> str | None:
    engine = _engine(arch)
    found = engine.disasm_lite(word.to_bytes(4, "little"), address) if engine else ()
    return next((f"{mnemonic} {operands}".strip() for _, _, mnemonic, operands in found), None)


def short(word: int, arch: str = "ppc64le") -> str:
    """A word's instruction in a few letters, for beside its bytes.

    >>> short(0x480001c5), short(0xe8410018), short(0x60000000)
    ('bl', 'ld r2', 'nop')
    """
    if arch == "arm64":
        return (_known_arm64(word, 0) or "").partition(" ")[0]
    known = _known(word, 0) or ""
    return known.partition(",")[0] if known.startswith("ld") else known.partition(" ")[0]


def call_html(history: History, key: str, step: int) -> str:
    """One call site in the module file, before this step and after it: address, word, instruction. "" where it is no call."""
    seen = history.observed_at(step)
    now = call_at(history, key, seen)
    if now is None:
        return ""
    looks = ((i, call_at(history, key, i)) for i in range(seen - 1, -1, -1))
    at, before = next(((i, call) for i, call in looks if call), (0, None))
    in_file = history.file_bytes(key, 4 * len(now.words))
    plain = call_at(history, key, seen, in_file) if in_file else None
    blocks = ""
    if before and before.words != now.words:
        blocks = _block("before this step", before, goes_to(history, key, at), history.arch.name)
    elif plain and plain.words != now.words:
        blocks = _block("in the file", plain, "", history.arch.name)
    same = ", unchanged by this step" if before and before.words == now.words else ""
    blocks += _block(f"now{same}", now, goes_to(history, key, seen), history.arch.name)
    return f'<table class="asm"><tbody>{blocks}</tbody></table>{_refusal(history, key, step, now)}'


def _block(title: str, call: Call, leads: str, arch: str) -> str:
    rows = [f'<tr><td colspan="3"><em>{escape(title)}</em></td></tr>']
    for number, word in enumerate(call.words):
        address = call.address + 4 * number
        text = escape(instruction(word, address, arch))
        if number == 0 and leads:
            text += f"<br><em>{escape(leads)}</em>"
        rows.append(f"<tr><td>{hexa(address)}</td><td>{word:08x}</td><td>{text}</td></tr>")
    return "".join(rows)


def _refusal(history: History, key: str, step: int, now: Call) -> str:
    said = nop_line(history.recording[step])
    if said is None or key != history.failing(step):
        return ""
    place, want, got = hexa(now.address + 4), instruction(NOP), escape(instruction(said.got, now.address + 4))
    found = f"It finds</em> <code>{got}</code> <em>→ refuse</em>"
    return f"<em>The kernel wants</em> {want} <em>at</em> {place}<em>. {found}"
