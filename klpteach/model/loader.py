"""Loading and removing a module, step by step in the kernel's order (kernel/module/main.c: load_module(), delete_module()).

A refused load leaves by the way it came: what had been done is undone in reverse.
"""

from __future__ import annotations

from ..files.elf_h import SHF_EXECINSTR, SHF_WRITE, SHN_UNDEF
from ..files.module_file import ModuleFile
from . import messages
from .errno import EAGAIN, EBUSY, EEXIST, ENOENT, ENOEXEC, EPERM, Refused
from .image import Image, Loading, section_flags
from .kallsyms import symbols_by_name
from .layout import layout_sections
from .livepatch.core import klp_enable_patch, klp_module_coming, klp_module_going
from .livepatch.relocs import klp_write_section_relocs
from .memory import Region, page_align
from .module import COMING, GOING, HALF_LOADED, LIVE, Module
from .state import State

GPL_COMPATIBLE = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


def load_module(kernel: State, file: ModuleFile, params: str = "") -> None:
    """insmod: from the file's bytes to a module in state Live; one that waits half-loaded goes on from there.

    Errors: Refused with the errno of init_module(). Simplified: no signature is verified, no version magic, no symbol CRCs; of
    a module's parameters three mean something, where it declares them: pre_patch_ret, block_transition and replace.
    """
    waiting = kernel.find_module(file.name)
    mod = waiting if waiting and waiting.state == HALF_LOADED else form_module(kernel, file)
    do_init_module(kernel, mod, params)


def form_module(kernel: State, file: ModuleFile) -> Module:
    """The first half of load_module(): a module in state Coming, relocated and patched, whose init has not run."""
    early_checks(kernel, file)
    mod = layout_and_allocate(kernel, file)
    try:
        add_unformed_module(kernel, mod)
    except Refused:
        kernel.free_regions(mod.regions)
        raise
    try:
        relocate(kernel, mod)
        complete_formation(kernel, mod)
        prepare_coming_module(kernel, mod)
    except Refused:
        unlink(kernel, mod)  # klp_module_coming() has cleaned up after itself, as far as it does
        raise
    return mod


def early_checks(kernel: State, file: ModuleFile) -> None:
    """What is said about a module before it has memory; 6.12 looks for a module of the same name first."""
    if file.arch != kernel.arch.name:
        raise kernel.refuse(messages.BAD_ARCH(machine=file.machine), ENOEXEC)
    # The rest of elf_validity_cache_strtab() no file passes that can be opened here.
    if kernel.rules.check_strtab and file.section_bytes(file.strtab_index)[:1] != b"\0":
        raise kernel.refuse(messages.NO_LEADING_NUL(), ENOEXEC)
    if file.early_name in kernel.machine.blacklist:
        raise kernel.refuse(messages.BLACKLISTED(module=file.early_name), EPERM)
    if kernel.rules.exists_first:
        check_exists(kernel, file.name)
    else:
        taint(kernel, file)


def check_exists(kernel: State, name: str) -> None:
    if old := kernel.find_module(name):
        raise Refused(EEXIST if old.state == LIVE else EBUSY)


def taint(kernel: State, file: ModuleFile) -> None:
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


def layout_and_allocate(kernel: State, on_disk: ModuleFile) -> Module:
    """Memory for every region, in the kernel's order, and the file's bytes in it."""
    file = kernel.arch.module_frob_arch_sections(on_disk, kernel.rules, kernel.log)
    if kernel.rules.refuse_wx:
        module_enforce_rwx_sections(kernel, file)
    layout = layout_sections(file, kernel.arch, kernel.rules)
    wanted = kernel.placement.get(file.name, {})
    regions = move_module(kernel, file.name, {kind: size for kind, size in layout.sizes.items() if size})
    kernel.placed[file.name] = {region.kind: region.start for region in regions}
    bases = dict.fromkeys(layout.sizes, 0) | kernel.placed[file.name]
    memory = {region.kind: region.data for region in regions}
    image = Image(file, kernel.arch, layout, bases, memory, wanted.get("percpu", kernel.rules.percpu_base))
    return Module(file.name, file, image, regions)


def module_enforce_rwx_sections(kernel: State, file: ModuleFile) -> None:
    """No section may be written and run."""
    for index, flags in enumerate(section_flags(file)):
        if flags & SHF_WRITE and flags & SHF_EXECINSTR:
            line = messages.WRITE_EXEC(module=file.name, section=file.section_names[index], index=index)
            raise kernel.refuse(line, ENOEXEC)


def move_module(kernel: State, name: str, sizes: dict[str, int]) -> list[Region]:
    """A region of each size. Errors: Refused(-ENOMEM); what had been taken is given back."""
    wanted, regions = kernel.placement.get(name, {}), list[Region]()
    for kind, size in sizes.items():
        try:
            regions.append(kernel.memory.alloc(size, name, kind, wanted.get(kind)))
        except Refused:
            kernel.free_regions(regions)
            kernel.log(kernel.rules.no_memory(size=page_align(size, kernel.arch.page) + kernel.arch.page))
            raise
    return regions


def add_unformed_module(kernel: State, mod: Module) -> None:
    """Take a place in the list of modules; from here on the module taints the kernel."""
    check_exists(kernel, mod.name)
    kernel.modules.append(mod)
    if kernel.rules.exists_first:
        taint(kernel, mod.file)
    # Simplified: a signature that is there is taken to be by a key that this kernel knows, as of a distribution's own module.
    unsigned = kernel.module_sig and not mod.file.on_disk.is_signed
    if unsigned:
        kernel.log_once(messages.UNSIGNED(module=mod.name))
    mod.taint = taint_letters(mod.file, unsigned)


def taint_letters(file: ModuleFile, unsigned: bool) -> str:
    """The letters of /proc/modules, in the order of the taint bits."""
    marks = {
        "P": file.modinfo.get("license", "unspecified") not in GPL_COMPATIBLE,
        "C": "staging" in file.modinfo,
        "O": "intree" not in file.modinfo,
        "E": unsigned,
        "K": file.is_livepatch,
    }
    return "".join(letter for letter, is_set in marks.items() if is_set)


def relocate(kernel: State, mod: Module) -> None:
    """Symbols, then relocations; of the livepatch ones only those for vmlinux."""
    me = Loading(mod.image, mod.name, kernel.rules, kernel.log)
    me.simplify_symbols(lambda name: kernel.resolve_symbol(mod, name))
    # A module's own relocations are written into the copy that was made a moment ago, so their places hold what the file
    # has. The .klp.rela sections of other modules are left out here and wait, in a module that is loaded for good.
    me.apply_relocations(lambda index: klp_write_section_relocs(kernel, mod, index, None))
    kernel.arch.module_finalize(me, kernel.vmlinux_function)


def complete_formation(kernel: State, mod: Module) -> None:
    """verify_exported_symbols(), then COMING."""
    for name in mod.exports:
        if owner := kernel.find_export(name):
            raise kernel.refuse(messages.DUPLICATE_EXPORT(module=mod.name, name=name, owner=owner.name), ENOEXEC)
    mod.image.formed, mod.state = True, COMING


def prepare_coming_module(kernel: State, mod: Module) -> None:
    """Livepatch is called directly, between ftrace and the notifiers."""
    try:
        klp_module_coming(kernel, mod)
        try:
            for notify in kernel.coming:
                notify(mod)
        except Refused:
            klp_module_going(kernel, mod)
            raise
    except Refused:
        mod.state = GOING
        raise


def do_init_module(kernel: State, mod: Module, params: str) -> None:
    """parse_args(), then init(). If one fails, livepatch hears that the module goes, as if it had been removed."""
    try:
        parse_args(kernel, mod, params)
        mod.in_sysfs = True
        do_one_initcall(kernel, mod, params)
    except Refused:
        if mod.state == HALF_LOADED:  # a livepatch holds it: it goes on waiting
            raise
        mod.state = GOING
        forget_module(kernel, mod)
        raise
    mod.state, mod.image.initialised = LIVE, True
    if any(obj.patched for patch in kernel.klp.patches for obj in patch.objects):
        mod.init_rows = mod.init_functions()
    kernel.free_regions([region for region in mod.regions if region.kind.startswith("init")])
    mod.regions = [region for region in mod.regions if not region.kind.startswith("init")]


def do_one_initcall(kernel: State, mod: Module, params: str) -> None:
    """init(), as far as it is known. Errors: Refused; -EEXIST is what user space takes for "already loaded"."""
    try:
        run_code(kernel, mod, "init")
        returned = kernel.init_errno_of(mod.file, params)
        if returned < 0:
            raise Refused(returned)
        if returned > 0:
            kernel.log(kernel.rules.init_positive(module=mod.name, returned=returned))
        if calls_klp_enable_patch(mod.file):
            klp_enable_patch(kernel, mod)
    except Refused as refused:
        raise Refused(kernel.rules.init_eexist) if refused.errno == EEXIST else refused from None


def run_code(kernel: State, mod: Module, function: str) -> None:
    """A module's init or exit, if the story declared what it does; module code itself is not run."""
    if code := kernel.module_code.get((mod.name, function)):
        code(kernel)


def parse_args(kernel: State, mod: Module, params: str) -> None:
    """NAME=VALUE …, as insmod was given them; what the module does not declare is ignored. Errors: Refused, the last one.

    Simplified: no quotes, nothing special after `--`.
    """
    failed = None
    for word in params.split():
        key, equals, value = word.partition("=")
        name = mod.find_parameter(key)
        if name is None:
            if key not in ("async_probe", "dyndbg"):
                kernel.log(messages.UNKNOWN_PARAMETER(module=mod.name, name=key))
            continue
        try:
            mod.set_parameter(name, value if equals else None)
        except Refused as refused:
            kernel.log(messages.BAD_PARAMETER(module=mod.name, value=value, name=key))
            failed = refused
    if failed:
        raise failed


def set_parameter(kernel: State, module: str, key: str, value: str) -> None:
    """A write to /sys/module/MODULE/parameters/KEY. Errors: Refused(-ENOENT, -EINVAL, -ERANGE)."""
    mod = kernel.find_module(module)
    if mod is None or key not in mod.parameter_types:
        raise Refused(ENOENT)
    mod.set_parameter(key, value)


def calls_klp_enable_patch(file: ModuleFile) -> bool:
    """The model does not run code: a module that refers to klp_enable_patch() calls it from its init."""
    return any(file.symtab["shndx"][index] == SHN_UNDEF for index in symbols_by_name(file).get("klp_enable_patch", ()))


def forget_module(kernel: State, mod: Module) -> None:
    """What a removed module and one whose init failed have in common: livepatch hears of it, then the memory goes."""
    klp_module_going(kernel, mod)
    # Simplified: the kernel's notifiers run before livepatch. Those of a proposal ask user space for something, and that
    # is done when the module has gone.
    for notify in kernel.going:
        notify(mod)
    unlink(kernel, mod)


def unlink(kernel: State, mod: Module) -> None:
    """Off the list, references given back, memory freed."""
    mod.drop_uses()
    if mod in kernel.modules:
        kernel.modules.remove(mod)
    # The freed range is the lowest hole that fits when the module comes back, so it mostly lands where it was. Then the
    # bytes that the livepatch still has for it are even the right ones, and the check refuses them all the same.
    kernel.free_regions(mod.regions)


def delete_module(kernel: State, name: str) -> None:
    """rmmod. Errors: Refused: -ENOENT no such module, -EAGAIN in use, -EBUSY not Live, or no exit function."""
    mod = kernel.find_module(name)
    if mod is None:
        raise Refused(ENOENT)
    if mod.holders:
        raise Refused(EAGAIN)
    if mod.state not in (LIVE, HALF_LOADED) or mod.permanent:
        raise Refused(EBUSY)
    # A livepatch holds no reference to what it patches, so rmmod of a patched module is allowed: that was the design,
    # and the question of 2019 is whether it was a good one. With deny-removal there is a reference to be found here.
    if mod.references:
        raise Refused(EAGAIN)
    was_live = mod.state == LIVE
    mod.state = GOING
    if was_live:
        run_code(kernel, mod, "exit")  # its functions are still redirected
    forget_module(kernel, mod)
