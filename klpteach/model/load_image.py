"""A module as the kernel would have it in memory, without a kernel: only addresses are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import index
from typing import Any

import numpy as np

from ..arguments import Address, checked
from ..errors import KlpteachError, LoadRefused, quoted, some
from ..files.klp import parse_symbol, section_object
from ..files.module_file import ModuleFile
from . import arch
from .errno import Oops, Refused
from .image import Bases, Image, Layout, Loading, Log, Resolve
from .layout import layout_sections
from .memory import page_align
from .policy import Behaviour, behaviour


@checked(but=["release"])
def load_image(
    module_file: ModuleFile, base: Address | Mapping[str, Address], resolve: Callable[[str], int | None], release: str = "6.1",
    init_base: Address | None = None, percpu_base: Address | None = None,
) -> Image:  # fmt: skip
    """The module as the kernel would have it in memory before its init runs: laid out, symbols resolved, relocated.

    base: address of the core block; for releases with separate allocations (6.4 and later) a dict {"text": address,
    "data": …}; an int there places the regions one after the other. resolve: undefined symbol name -> address, or None
    for unknown. Livepatch relocations of modules stay unwritten, those of vmlinux go through resolve too. ppc64le: resolve
    is asked for ftrace_caller and ftrace_regs_caller as well; where it says None, that stub is not made.
    Errors: LoadRefused with the errno and the lines printed (errno 0: the kernel oopses); KlpteachError for a base that
    no kernel would give, or where resolve gives what is no address.

    >>> from klpteach.files.samples import sample
    >>> image = load_image(ModuleFile.open(sample("nfsd_demo.ko")), 0xffffffffc0201000, lambda name: 0xffffffff81000000)
    >>> hex(image.sections[".text"][0])
    '0xffffffffc0201000'
    """
    resolve = _with_addresses(resolve)
    rules, lines = behaviour(release, arch=module_file.arch), list[str]()
    try:
        me = laid_out(module_file, base, rules, lambda line: lines.append(line.render()), init_base, percpu_base)
        _check_pages(me.image.layout, me.image.bases)
        me.simplify_symbols(resolve)
        me.apply_relocations(lambda relsec: _write_vmlinux(me, relsec, resolve))
        me.image.arch.module_finalize(me, resolve)
        return me.image
    except Oops as oops:
        raise LoadRefused(f"{module_file.filename}: the kernel would oops: {oops}", 0, lines) from None
    except Refused as refused:
        what = f"the kernel would refuse it ({refused.errno}) and print: {some(lines, between='; ') or 'nothing'}"
        raise LoadRefused(f"{module_file.filename}: {what}", refused.errno, lines) from None


def laid_out(
    module_file: ModuleFile, base: int | Bases, rules: Behaviour, log: Log,
    init_base: int | None = None, percpu_base: int | None = None,
) -> Loading:  # fmt: skip
    """The module in memory with the file's bytes: no symbol has an address yet, no relocation is written. Errors: Refused."""
    cpu = arch.of(module_file.arch)
    file = cpu.module_frob_arch_sections(module_file, rules, log)
    layout = layout_sections(file, cpu, rules)
    memory = {region: np.zeros(page_align(size, layout.page), "u1") for region, size in layout.sizes.items()}
    image = Image(file, cpu, layout, _bases(layout, base, init_base), memory, percpu_base or 0)
    return Loading(image, module_file.name, rules, log)


def _write_vmlinux(me: Loading, relsec: int, resolve: Resolve) -> None:
    """A livepatch section, if it is against vmlinux: its symbols, too, are asked for by name."""
    if section_object(me.file.section_names[relsec]) != "vmlinux":
        return
    for symbol in me.file.rela(relsec)["sym"].tolist():
        parsed = parse_symbol(me.file.symbol_names[symbol])
        if parsed and (address := resolve(parsed.name)) is not None:
            me.image.symbols[symbol] = address
    me.image.arch.apply_relocate_add(me, relsec)


def _with_addresses(resolve: Callable[[str], Any]) -> Resolve:
    """A reader's function, held to what it is asked for. Errors: KlpteachError."""

    def resolved(name: str) -> int | None:
        found = resolve(name)
        if found is None:
            return None
        with suppress(TypeError):
            if 0 <= (address := index(found)) < 1 << 64:
                return address
        raise KlpteachError(
            f"resolve({quoted(name)}) gives {quoted(found)}: an address has 64 bits, and None is unknown."
        )

    return resolved


def _bases(layout: Layout, base: int | Bases, init_base: int | None) -> dict[str, int]:
    """An address for every region: the given ones, the rest behind them with a guard page between. Errors: KlpteachError."""
    wanted = base if isinstance(base, Mapping) else {next(iter(layout.sizes)): base}
    given = {region: int(address) for region, address in wanted.items()}  # numpy's would overflow
    if init_base is not None:
        given.setdefault("init" if "init" in layout.sizes else "init_text", int(init_base))
    for region in given:
        if region not in layout.sizes:
            raise KlpteachError(f"there is no region {quoted(region)} on this release, only {', '.join(layout.sizes)}.")
    if not given:
        raise KlpteachError(f"base: no address. Try: one of {', '.join(layout.sizes)}")
    free = max(given[r] + page_align(layout.sizes[r], layout.page) for r in given)
    for region, size in layout.sizes.items():
        if region not in given:
            given[region] = free = page_align(free, layout.page) + layout.page
            free += page_align(size, layout.page)
    _check_apart(layout, given)
    return {region: given[region] for region in layout.sizes}


def _check_pages(layout: Layout, bases: Bases) -> None:
    for region, start in bases.items():
        if start % layout.page and layout.sizes[region]:
            whole = f"the kernel gives whole pages, of {layout.page:#x} bytes here."
            raise KlpteachError(f"{region} at {start:#x}: {whole}")


def _check_apart(layout: Layout, bases: Bases) -> None:
    end, below = 0, ""
    for region in sorted((r for r in bases if layout.sizes[r]), key=bases.__getitem__):
        start = bases[region]
        if start < end:
            raise KlpteachError(f"{region} at {start:#x} overlaps {below}, which ends at {end:#x}.")
        end, below = start + page_align(layout.sizes[region], layout.page), region
        if end > 1 << 64:
            raise KlpteachError(
                f"{region} at {start:#x} is {end - start:#x} bytes long: it leaves the 64-bit address space."
            )
