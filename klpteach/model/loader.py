"""Loading and removing a module, step by step in the kernel's order (kernel/module/main.c: load_module(), delete_module()).

`kernel` is klpteach.model.kernel.Kernel. A refused load leaves by the way it came: what had been done is undone in reverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..files.elf_h import SHN_UNDEF
from ..files.module_file import ModuleFile
from . import messages
from .errno import EAGAIN, EBUSY, EEXIST, ENOENT, ENOEXEC, EPERM, Refused
from .image import Image, Loading
from .layout import layout_sections
from .livepatch.core import check_targets, klp_enable_patch, klp_module_coming, klp_module_going
from .livepatch.relocs import klp_write_section_relocs
from .module import COMING, GOING, HALF_LOADED, LIVE, Module

if TYPE_CHECKING:
    from .kernel import Kernel

GPL_COMPATIBLE = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


def load_module(kernel: Kernel, file: ModuleFile, params: str = "", init_errno: int = 0) -> Module:
    """insmod: from the file's bytes to a module in state Live; one that waits half-loaded goes on from there.

    init_errno is what the module's own init() returns (a livepatch's init returns what klp_enable_patch() does).
    Errors: Refused with the errno of init_module(). Simplified: no signatures, no version magic, no symbol CRCs; of
    a module's parameters three mean something: pre_patch_ret, block_transition and replace.
    """
    waiting = kernel.find_module(file.name)
    mod = waiting if waiting and waiting.state == HALF_LOADED else form_module(kernel, file)
    do_init_module(kernel, mod, params, init_errno)
    return mod


def form_module(kernel: Kernel, file: ModuleFile) -> Module:
    """The first half of load_module(): a module in state Coming, relocated and patched, whose init has not run."""
    early_checks(kernel, file)
    mod = layout_and_allocate(kernel, file)
    try:
        add_unformed_module(kernel, mod)
    except Refused:
        kernel.free_regions(mod.free())
        raise
    try:
        relocate(kernel, mod)
        complete_formation(kernel, mod)
        prepare_coming_module(kernel, mod)
    except Refused:
        unlink(kernel, mod)  # klp_module_coming() has cleaned up after itself, as far as it does
        raise
    return mod


def early_checks(kernel: Kernel, file: ModuleFile) -> None:
    """What is said about a module before it has memory; 6.12 looks for a module of the same name first."""
    if file.arch != kernel.arch:
        kernel.log(messages.BAD_ARCH(machine=file.machine))
        raise Refused(ENOEXEC)
    if file.name in kernel.host.blacklist:
        kernel.log(messages.BLACKLISTED(module=file.name))
        raise Refused(EPERM)
    if kernel.rules.exists_first:
        check_exists(kernel, file.name)
    else:
        taint(kernel, file)


def check_exists(kernel: Kernel, name: str) -> None:
    old = kernel.find_module(name)
    if old is not None:
        raise Refused(EEXIST if old.state == LIVE else EBUSY)


def taint(kernel: Kernel, file: ModuleFile) -> None:
    """check_modinfo() (6.1), module_augment_kernel_taints() (6.12): each of the first two lines is printed once a boot."""
    if "intree" not in file.modinfo:
        kernel.log_once(messages.OUT_OF_TREE(module=file.name))
    if "staging" in file.modinfo:
        kernel.log(messages.STAGING(module=file.name))
    if file.is_livepatch:
        kernel.log_once(messages.TAINT_LIVEPATCH(module=file.name))
    license_ = file.modinfo.get("license", "unspecified")
    if license_ not in GPL_COMPATIBLE:
        kernel.log_once(messages.LICENSE(module=file.name, license=license_))


def layout_and_allocate(kernel: Kernel, on_disk: ModuleFile) -> Module:
    """Memory for every region, in the kernel's order, and the file's bytes in it."""
    file = kernel.cpu.module_frob_arch_sections(on_disk, kernel.rules, kernel.log)
    layout = layout_sections(file, kernel.cpu, kernel.rules.separate_memory)
    wanted = kernel.placement.get(file.name, {})
    regions = [
        kernel.memory.alloc(size, file.name, kind, wanted.get(kind)) for kind, size in layout.sizes.items() if size
    ]
    bases = dict.fromkeys(layout.sizes, 0) | {region.kind: region.start for region in regions}
    kernel.placed[file.name] = {region.kind: region.start for region in regions}
    memory = {region.kind: region.data for region in regions}
    percpu = wanted.get("percpu", kernel.percpu_base)
    return Module(file.name, file, Image(file, kernel.cpu, layout, bases, memory, percpu), regions)


def add_unformed_module(kernel: Kernel, mod: Module) -> None:
    """Take a place in the list of modules; from here on the module taints the kernel."""
    check_exists(kernel, mod.name)
    kernel.modules.append(mod)
    if kernel.rules.exists_first:
        taint(kernel, mod.file)
    if kernel.module_sig:
        kernel.log_once(messages.UNSIGNED(module=mod.name))
    mod.taint = taint_letters(mod.file, kernel.module_sig)


def taint_letters(file: ModuleFile, module_sig: bool) -> str:
    """The letters of /proc/modules, in the order of the taint bits."""
    info = file.modinfo
    marks = [
        ("P", info.get("license", "unspecified") not in GPL_COMPATIBLE),
        ("C", "staging" in info),
        ("O", "intree" not in info),
        ("E", module_sig),
        ("K", file.is_livepatch),
    ]
    return "".join(letter for letter, is_set in marks if is_set)


def relocate(kernel: Kernel, mod: Module) -> None:
    """Symbols, then relocations; livepatch ones only for vmlinux."""
    if kernel.rules.depend_on_targets and mod.file.is_livepatch:
        check_targets(kernel, mod)
    me = Loading(mod.image, mod.name, kernel.rules, kernel.log)
    me.simplify_symbols(lambda name: kernel.resolve_symbol(mod, name))
    me.apply_relocations(lambda index: klp_write_section_relocs(kernel, mod, index, None))
    kernel.cpu.module_finalize(me, kernel.vmlinux_function)


def complete_formation(kernel: Kernel, mod: Module) -> None:
    """verify_exported_symbols(), then COMING."""
    for name in mod.exports:
        owner = kernel.find_export(name)
        if owner is not None:
            kernel.log(messages.DUPLICATE_EXPORT(module=mod.name, name=name, owner=owner))
            raise Refused(ENOEXEC)
    mod.image.formed = True
    mod.state = COMING


def prepare_coming_module(kernel: Kernel, mod: Module) -> None:
    """Livepatch is called directly, between ftrace and the notifiers."""
    try:
        klp_module_coming(kernel, mod)
    except Refused:
        mod.state = GOING
        raise


def do_init_module(kernel: Kernel, mod: Module, params: str, init_errno: int) -> None:
    """parse_args(), then init(). If one fails, livepatch hears that the module goes, as if it had been removed."""
    try:
        parse_args(kernel, mod, params)
        kernel.run_code(mod.name, "init")
        if init_errno:
            raise Refused(init_errno)
        if calls_klp_enable_patch(mod.file):
            klp_enable_patch(kernel, mod)
    except Refused:
        if mod.state == HALF_LOADED:  # a livepatch holds it: it goes on waiting
            raise
        mod.state = GOING
        klp_module_going(kernel, mod)
        unlink(kernel, mod)
        raise
    mod.state, mod.image.initialised = LIVE, True
    if any(obj.patched for patch in kernel.klp.patches for obj in patch.objects):
        mod.init_rows = mod.init_functions()
    kernel.free_regions([region for region in mod.regions if region.kind.startswith("init")])
    mod.regions = [region for region in mod.regions if not region.kind.startswith("init")]


def parse_args(kernel: Kernel, mod: Module, params: str) -> None:
    """NAME=VALUE …, as insmod was given them. Errors: Refused(-EINVAL) for a value that is none of its type."""
    for word in params.split():
        key, _, value = word.partition("=")
        try:
            mod.set_parameter(key, value)
        except Refused:
            kernel.log(messages.BAD_PARAMETER(module=mod.name, value=value, name=key))
            raise


def calls_klp_enable_patch(file: ModuleFile) -> bool:
    """The model does not run code: a module that refers to klp_enable_patch() calls it from its init."""
    return any(
        name == "klp_enable_patch" and shndx == SHN_UNDEF
        for name, shndx in zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
    )


def unlink(kernel: Kernel, mod: Module) -> None:
    """Off the list, references given back, memory freed."""
    mod.drop_uses()
    if mod in kernel.modules:
        kernel.modules.remove(mod)
    kernel.free_regions(mod.free())


def delete_module(kernel: Kernel, name: str) -> None:
    """rmmod. Errors: Refused: -ENOENT no such module, -EAGAIN in use, -EBUSY not Live, or no exit function."""
    mod = kernel.find_module(name)
    if mod is None:
        raise Refused(ENOENT)
    if mod.holders:
        raise Refused(EAGAIN)
    if mod.state not in (LIVE, HALF_LOADED):
        raise Refused(EBUSY)
    if mod.permanent:
        raise Refused(EBUSY)
    if mod.references:
        raise Refused(EAGAIN)
    state, mod.state = mod.state, GOING
    if state == LIVE:
        kernel.run_code(mod.name, "exit")  # its functions are still redirected
    klp_module_going(kernel, mod)
    unlink(kernel, mod)
