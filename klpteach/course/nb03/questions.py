"""What notebook 03 asks: how S + A - P becomes bytes, what a base changes, and what the check is for."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from ...files.elf_h import SHF_EXECINSTR, SHF_WRITE
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_X86_64
from ...files.samples import sample
from ...model import arch
from ...model.image import section_flags
from ...model.layout import layout_sections
from ...model.policy import behaviour
from ...model.step import hexa
from ...scenarios.simulate import simulate
from ..checks import function_on
from ..exercise import Exercise, Problem
from ..question import questions
from .loading import DEFECT, LIVEPATCH, Move, loaded_text, moved, some_calls

TITLE = "loading on x86_64"
CALL = f"{LIVEPATCH}:.text+0x1c"


def livepatch_section_is_with() -> str:
    """Where layout_sections() puts .klp.rela.nfsd_demo..text: with "code", "rodata" or "data", or nowhere ("dropped")."""
    file = ModuleFile.open(sample(f"{LIVEPATCH}.ko"))
    index = file.section_names.index(".klp.rela.nfsd_demo..text")
    if index not in layout_sections(file, arch.of(file.arch), behaviour("6.1")).places:
        return "dropped"
    flags = section_flags(file)[index]
    if flags & SHF_EXECINSTR:
        return "code"
    return "data" if flags & SHF_WRITE else "rodata"


def last_byte_of_the_call() -> str:
    """The last of the four bytes that the model writes for the call of demo_scale(), as hex digits."""
    return f"{simulate('reload', '6.1')[1].bytes_at(CALL)[-1]:02x}"


@lru_cache(maxsize=1)
def what_a_new_base_changes() -> str:
    """Which relocations of nfsd_demo.ko hold other bytes at another base: "all", "addresses" or "leaving"."""
    moves = moved(ModuleFile.open(sample("nfsd_demo.ko")))
    rules: dict[str, Callable[[Move], bool]] = {
        "all": lambda move: True,
        "addresses": lambda move: not move.relative,
        "leaving": lambda move: move.own != move.relative,
    }
    return next(name for name, rule in rules.items() if all(rule(move) == move.changed for move in moves))


def where_a_kernel_address_fits(address: int = 0xFFFFFFFFC0203010) -> str:
    """Which 32-bit types can hold an address of a module: "10", "11", "both" or "neither"."""
    fitting = [str(kind) for kind in (10, 11) if (fits := HOWTO_X86_64[kind].fits) and fits(address)]
    return "both" if len(fitting) == 2 else (fitting or ["neither"])[0]


QUESTIONS = questions("""
klp-rela-place
`.klp.rela.nfsd_demo..text` is the list of livepatch relocations. Where does the loader put it?
- dropped: Nowhere: a list of relocations is used once and dropped
  That is what becomes of an ordinary `.rela` section. This one has the flag A (SHF_ALLOC): the kernel needs it again
  when the target comes.
- code: With the code, which it is about
  What a section is about does not matter, only its flags do: A without X is no code.
- rodata: With the read-only data => with the read-only data
  Its flags decide: A (keep it), neither X (code) nor W (may be written). It stays as long as the livepatch does.
- data: With the data that can be written
  Sites are written, the list of them is not: it has no W.

last-byte
nfsd_demo stands below the livepatch, some 20,000 bytes away. The livepatch calls `demo_scale`. What is the last of the
four bytes?
- 00: 00: the distance is small
  Small, but downwards. A negative number has its upper bits set, and the upper byte comes last.
- c0: c0: it belongs to the address 0xffffffffc0…
  That would be the address itself. A call stores how far it is, not where.
- ff: ff: the distance is negative => ff
  The call goes down in memory, and the highest byte of a small negative number is ff.

fits-32
demo_counter is at 0xffffffffc0203010. Two types keep 32 bits of an address and must be able to give back all 64. Which
can hold this one?
- 10: R_X86_64_32, which fills up with zeros
  Filled up with zeros it would be 0x00000000c0203010, an address of user space.
- 11: R_X86_64_32S, which repeats the sign bit => R_X86_64_32S
  The upper 33 bits of a module's address are ones, so the sign bit brings all of them back.
- both: Both
  They agree below 0x0000000080000000 only. No kernel address is there.
- neither: Neither: it has 64 bits
  64 bits, but the upper 33 are all the same: one of them is enough, if the CPU repeats it.

another-base
nfsd_demo.ko is loaded 0x5000 bytes further on. At which relocated places do other bytes stand than before?
- all: At all of them: every address has moved
  Inside the module both ends of a distance move together. S and P grow by the same number, and the difference stays.
- addresses: Where an address is stored; a distance stays what it is
  True inside the module. The kernel's own functions do not move, so the distance to them does change.
- leaving: Where it stores an address of its own, or a distance that leaves the module => where an address of its own is stored, or a distance that leaves the module
  Count who moves: S with the module, P with the module. Only where one of them moves alone, the sum changes.

off-by-8
In this livepatch one relocation stands 8 bytes too far: a tool got an offset wrong. What does 6.1 do when it is loaded?
- loads: It loads: the offset is inside the section
  An offset alone proves nothing. What is at the place does: code, where a relocation expects zeros.
- panics: It crashes while it loads
  Nothing runs yet. The bytes are looked at before they are written.
- refused: It refuses the livepatch => it is refused, with the line of the 2019 report
  The place holds an instruction, so it is not zero. That is all that the check knows, and it is enough.

off-by-8-unchecked
The same livepatch on a kernel without the check. What does its load do?
- loads: It loads, and says nothing => it loads without a word
  The value fits, the place is inside the section: nobody else looks. It goes wrong when the code runs.
- refused: Another test refuses it
  There is the overflow test, and the value does not overflow. Nobody else looks at a place.
- panics: It crashes while it loads
  Loading only copies and writes. The crash waits until somebody calls the function.
""", {
    "klp-rela-place": livepatch_section_is_with, "last-byte": last_byte_of_the_call,
    "fits-32": where_a_kernel_address_fits, "another-base": what_a_new_base_changes,
    "off-by-8": lambda: "refused" if loaded_text(DEFECT)[0] else "loads",
    "off-by-8-unchecked": lambda: "refused" if loaded_text(DEFECT, ("remove-check",))[0] else "loads",
})  # fmt: skip


def _pc32(rng: random.Random) -> Problem:
    cases = [((one.sum.S, one.sum.A, one.sum.P), one.stored) for one in some_calls(rng, 5)]
    (S, A, P), right = cases[0]
    table = "\n".join(f"    pc32({hexa(s)}, {a}, {hexa(p)})  ->  {stored.hex(' ')}" for (s, a, p), stored in cases[:2])
    return Problem(
        ask="Write `pc32(S, A, P)`: the four bytes that `R_X86_64_PC32` and `R_X86_64_PLT32` store. It is tried on sites whose "
        f"bytes were read from the memory of real kernels, among them:\n\n{table}",
        answer=lambda S, A, P: HOWTO_X86_64[2].value(S, A, P).to_bytes(8, "little")[:4],
        shown='def pc32(S, A, P):\n    return ((S + A - P) & 0xffffffff).to_bytes(4, "little")',
        form="the function itself: pc32, without brackets",
        hints=("A distance may be negative: `& 0xffffffff` keeps its lower 32 bits.",
               '`number.to_bytes(4, "little")` puts the lowest byte first, as x86 does.'),
        steps=(f"S + A - P = {S + A - P}",
               f"its lower 32 bits: {(S + A - P) & 0xFFFFFFFF:#010x}",
               f"lowest byte first: {right.hex(' ')}, as in the kernel's memory"),
        judge=function_on(cases, "pc32"),
        because="These are the bytes that the kernel wrote.")  # fmt: skip


def _backwards(rng: random.Random) -> Problem:
    one = some_calls(rng, 1)[0]
    S, A, P, distance = one.sum.S, one.sum.A, one.sum.P, int.from_bytes(one.stored, "little", signed=True)
    wrong_ways = (
        (P + distance, "That is S + A. The addend is there because the CPU counts from the next instruction."),
        (P + distance + A, "A is on the other side: S = distance + P - A."),
        (P - A + (distance & 0xFFFFFFFF), "The bytes are a signed number; the last byte says which sign."),
    )
    return Problem(
        ask=f"These four bytes were found in a livepatch's code. Which address is meant?\n\n    P     = {hexa(P)}\n"
        f"    bytes = {one.stored.hex(' ')}\n    A     = {A}",
        answer=S,
        form="an address, 0x…",
        hints=("Read the bytes as a signed number, then solve S + A - P for S.",
               f'`int.from_bytes(bytes.fromhex("{one.stored.hex()}"), "little", signed=True)` is the distance.'),
        slips=[(wrong, words) for wrong, words in wrong_ways if wrong != S],
        steps=(f"the bytes as a signed number: {distance}", f"S = distance + P - A = {distance} + {hexa(P)} + {-A}"),
        shown=hexa(S))  # fmt: skip


EXERCISES = {"pc32": Exercise("the four bytes of a call", _pc32),
             "backwards": Exercise("from four bytes back to a symbol", _backwards)}  # fmt: skip
