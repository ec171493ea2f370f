"""The PLT of an arm64 module: how many entries it gets, and how a branch or an adrp takes one (arch/arm64/kernel/module-plts.c).

A `bl` reaches 128 MiB. What is further away is reached through an entry of three instructions in the module's own .plt, and
so is, on a Cortex-A53 with erratum 843419, what an adrp at the end of a page wants. Nothing in .plt is ever freed.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np

from ...files.elf_h import SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_RELA
from ...files.module_file import ModuleFile
from ...files.relocation_types import ADRP, ADRP_NC, CALL26, HOWTO_ARM64, JUMP26, MASK64
from .. import messages
from ..errno import ENOEXEC, Refused
from ..image import Array, Image, Loading
from .loader_file import LoaderFile

PLT_SIZE = 12  # sizeof(struct plt_entry)
PLT, INIT_PLT = ".plt", ".init.plt"
TRAMPOLINES = ".text.ftrace_trampoline", ".init.text.ftrace_trampoline"  # one entry each: NR_FTRACE_PLTS
L1_CACHE_BYTES, SZ_4K = 64, 0x1000
ADRP_X0, ADD_X0, BR_X16, B = 0x90000000, 0x91000000, 0xD61F0200, 0x14000000
X16 = 16  # IP0, which any branch may destroy


class PltCopy(LoaderFile):
    """A file as the loader has it: branches that may need an entry first and sorted, .plt and its like of their final size.

    erratum: whether the CPU has 843419, so that an adrp may need an entry, too. max_entries: .plt or .init.plt -> how many
    entries were counted; the section has room for one more.
    """

    def __init__(self, file: ModuleFile, erratum: bool) -> None:
        super().__init__(file)
        self._sorted: dict[int, Array] = {}
        self.max_entries = dict.fromkeys((PLT, INIT_PLT), 0)
        flags, names = self.shdrs["flags"].tolist(), self.section_names
        for index, (kind, _, _) in enumerate(file.extents):
            target = int(self.shdrs["info"][index])
            if kind != SHT_RELA or target >= len(flags) or not flags[target] & SHF_EXECINSTR:
                continue
            elsewhere = self.symtab["shndx"][file.rela(index)["sym"]] != target
            self._sorted[index] = rela = partition_and_sort(file.rela(index), elsewhere)
            count = count_plts(rela, self.symtab["shndx"][rela["sym"]] != target)
            if erratum:
                veneers, align = count_veneers(rela)
                count += veneers
                count += -(
                    -count // (SZ_4K // PLT_SIZE)
                )  # some entries are skipped: they would begin with such an adrp
                self.shdrs["addralign"][target] = max(int(self.shdrs["addralign"][target]), align)
            self.max_entries[INIT_PLT if names[target].startswith(".init") else PLT] += count
        for name, count in self.max_entries.items():
            self._resize(name, L1_CACHE_BYTES, count + 1)
        for name in TRAMPOLINES:
            if name in names:
                self._resize(name, 4, 1)

    def _resize(self, name: str, align: int, entries: int) -> None:
        index = plt_section(self, name)
        changes = {
            "type": SHT_NOBITS,
            "flags": SHF_EXECINSTR | SHF_ALLOC,
            "addralign": align,
            "size": entries * PLT_SIZE,
        }
        for field, value in changes.items():
            self.shdrs[field][index] = value

    def rela(self, index: int) -> Array:
        return self._sorted[index] if index in self._sorted else super().rela(index)


@lru_cache(maxsize=64)
def frob(file: ModuleFile, erratum: bool) -> PltCopy:
    """The loader's copy of a file; a story loads the same file many times."""
    return PltCopy(file, erratum)


def plt_section(file: ModuleFile, name: str) -> int:
    """Index of the last section of that name, which is the one that the kernel's loop keeps."""
    return len(file.section_names) - 1 - file.section_names[::-1].index(name)


def partition_and_sort(rela: Array, elsewhere: Array) -> Array:
    """The entries of a section as module_frob_arch_sections() leaves them: branches to elsewhere first, sorted.

    elsewhere: whether each entry's symbol is in another section than its place. Simplified: equal ones stay in the order of
    the file, where the kernel's heapsort turns some round; they have one entry in .plt, so that decides nothing.
    """
    needs = elsewhere & np.isin(rela["type"], (JUMP26, CALL26))
    count = int(needs.sum())
    # Two indexes walk towards each other: a hole in front is filled with the last one from behind. They stop where they
    # meet, so with nothing but such branches the last one is not looked at, and stays out of the sort.
    order = np.arange(len(rela))
    holes = np.flatnonzero(~needs[:count])
    fillers = count + np.flatnonzero(needs[count:])[::-1]
    order[holes], order[fillers] = fillers, holes
    if count and count == len(rela):
        count -= 1
    front = rela[order[:count]]
    order[:count] = order[np.lexsort((front["addend"], front["sym"], front["type"]))]
    return rela[order]


def count_plts(rela: Array, elsewhere: Array) -> int:
    """How many entries the branches of a section may need; the same target behind one another counts once."""
    branch = elsewhere & np.isin(rela["type"], (JUMP26, CALL26))
    keys = rela[["type", "sym", "addend"]]
    repeated = np.zeros(len(rela), bool)
    repeated[1:] = keys[1:] == keys[:-1]
    return int((branch & ((rela["addend"] != 0) | ~repeated)).sum())


def count_veneers(rela: Array) -> tuple[int, int]:
    """Erratum 843419: how many adrp no alignment keeps from the end of a page, and the alignment that keeps all others."""
    offset = rela["offset"][np.isin(rela["type"], (ADRP, ADRP_NC))] | np.uint64(7)
    min_align = (~offset & (offset + np.uint64(1))) << np.uint64(1)  # 2 << ffz(offset)
    aligned = min_align[min_align <= SZ_4K]
    return int((min_align > SZ_4K).sum()), max(aligned.tolist(), default=1)


# -- in memory ------------------------------------------------------------------------------------------------------------


def adrp(register: int, to: int, at: int) -> int:
    """`adrp xN, to`, as it stands at an address."""
    howto = HOWTO_ARM64[ADRP]
    return howto.stored(ADRP_X0 | register, howto.value(to, 0, at))


def branch(to: int, at: int) -> int:
    """`b to`, as it stands at an address."""
    howto = HOWTO_ARM64[JUMP26]
    return howto.stored(B, howto.value(to, 0, at))


def adrp_target(word: int, at: int) -> int:
    """The page that an adrp at an address leads to: aarch64_insn_adrp_get_offset().

    >>> hex(adrp_target(adrp(16, 0xffff8000800cb624, 0xffff8000786b6170), 0xffff8000786b6170))
    '0xffff8000800cb000'
    """
    pages = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
    return ((at & ~0xFFF) + ((pages - (pages >> 20 << 21)) << 12)) & MASK64


def entry_target(entry: bytes, at: int) -> int | None:
    """Where the entry at an address leads; None for bytes that are no `adrp; add; br`.

    >>> hex(entry_target(bytes.fromhex("70cb03901062249100021fd6"), 0xffff8000786b6170))
    '0xffff800080022918'
    """
    first, add, br = (int.from_bytes(entry[i : i + 4], "little") for i in (0, 4, 8))
    if first & 0x9F00001F != ADRP_X0 | X16 or add & 0xFFC003FF != ADD_X0 | X16 << 5 | X16 or br != BR_X16:
        return None
    return adrp_target(first, at) + (add >> 10 & 0xFFF)


def get_plt_entry(to: int, at: int) -> bytes:
    """`adrp x16; add x16; br x16`."""
    return struct.pack("<III", *_pair(X16, to, at), BR_X16)


def _pair(register: int, to: int, at: int) -> tuple[int, int]:
    return adrp(register, to, at), ADD_X0 | (to & 0xFFF) << 10 | register << 5 | register


class PltTable:
    """.plt or .init.plt of one module in memory (struct mod_plt_sec): used is plt_num_entries, which never goes down."""

    def __init__(self, image: Image, name: str) -> None:
        assert isinstance(image.file, PltCopy)
        index = plt_section(image.file, name)
        region, self.offset = image.layout.places[index]
        self.memory, self.address = image.memory[region], image.address[index]
        self.max_entries, self.used = image.file.max_entries[name], 0
        self.kept: dict[
            int, int
        ] = {}  # place of a branch or an adrp -> its entry; asked by the proposal keep-plt alone

    def at(self, entry: int) -> int:
        return self.address + PLT_SIZE * entry

    def emit_entry(self, me: Loading, to: int, place: int) -> int:
        """module_emit_plt_entry(): the address of an entry that leads there, for a branch at a place.

        Errors: Refused(-ENOEXEC) after a WARNING when there are more than were counted; Oops where .plt is read-only.
        """
        # It is stored first, then compared with the one before, and then counted. So a load that needs an entry again
        # writes one past the last; with the table full that is the spare one, and behind it somebody else's bytes.
        if me.rules.plt_keep and (own := self.kept.get(place)) is not None:
            self._store(me, own, get_plt_entry(to, self.at(own)))
            return self.at(own)
        entry, last = self.used, self.used - 1
        if is_forbidden(me, self.at(entry)):
            entry += 1
        self._store(me, entry, get_plt_entry(to, self.at(entry)))
        if last >= 0 and entry_target(self._read(last), self.at(last)) == to:
            self.kept[place] = last
            return self.at(last)
        self.used += entry - last
        self._must_fit(me, "module_emit_plt_entry")
        self.kept[place] = entry
        return self.at(entry)

    def emit_veneer(self, me: Loading, place: int, word: int, page: int) -> int:
        """module_emit_veneer_for_adrp(): an entry that does what the adrp at a place should, and goes back behind it."""
        own = self.kept.get(place) if me.rules.plt_keep else None
        entry = self.used if own is None else own
        if own is None:
            self.used += 1
            self._must_fit(me, "module_emit_veneer_for_adrp")
            if is_forbidden(me, self.at(entry)):
                entry, self.used = self.used, self.used + 1
            self.kept[place] = entry
        # The register is read from the place. Where a veneer was made before, a branch stands there, and its bits are taken
        # for one.
        back = branch(place + 4, self.at(entry) + 8)
        self._store(me, entry, struct.pack("<III", *_pair(word & 31, page, self.at(entry)), back), first=8)
        return self.at(entry)

    def register_of(self, me: Loading, place: int) -> int | None:
        """The register of the adrp that a veneer stands for, where the proposal keep-plt remembers one for a place."""
        own = self.kept.get(place) if me.rules.plt_keep else None
        return None if own is None else self._read(own)[0] & 31

    @property
    def last(self) -> bytes:
        """The entry that was made last, b"" where there is none."""
        return self._read(self.used - 1) if self.used else b""

    def _must_fit(self, me: Loading, function: str) -> None:
        if self.used > self.max_entries:
            me.log(messages.CUT_HERE())
            me.log(
                messages.PLT_WARNING(line=WARNED_AT[function], plt=f"{function}+0x0/0x0", cpu=0, comm="insmod", pid=1)
            )
            me.log(messages.END_TRACE())
            raise Refused(ENOEXEC)

    def _read(self, entry: int) -> bytes:
        start = self.offset + PLT_SIZE * entry
        return self.memory[start : start + PLT_SIZE].tobytes()

    def _store(self, me: Loading, entry: int, body: bytes, first: int = 0) -> None:
        """A plain store: of what module-plts.c writes nothing goes through the alias that the relocations' places have.

        first: which byte the compiled function stores first, and so faults at.
        """
        # Here is what a late call over more than 128 MiB comes to. The livepatch has long been formed, its .plt is read-only,
        # and the store faults with klp_mutex held.
        start = self.offset + PLT_SIZE * entry
        if (me.image.formed and not me.rules.plt_alias) or start + PLT_SIZE > len(self.memory):
            raise me.oops("write", self.at(entry) + first)
        self.memory[start : start + PLT_SIZE] = np.frombuffer(body, "u1")


WARNED_AT = {"module_emit_plt_entry": 94, "module_emit_veneer_for_adrp": 112}  # lines of module-plts.c in 7.3


def is_forbidden(me: Loading, place: int) -> bool:
    """is_forbidden_offset_for_adrp(): an adrp in the last two words of a page, on a CPU with erratum 843419."""
    return me.rules.erratum_843419 and place & 0xFFF >= 0xFF8
