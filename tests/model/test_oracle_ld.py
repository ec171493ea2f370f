"""GNU ld and the model agree on every byte: ld relocates for another purpose and shares no code with the kernel or with us."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from oracle import OF_LD, SAMPLES, Unavailable, debian_modules, first_difference, link, undefined_names

from klpteach import Kernel, ModuleFile, load_image
from klpteach.files.klp import Site, livepatch_sections, parse_symbol, sites
from klpteach.model import arch
from klpteach.model.image import Image
from klpteach.model.layout import layout_sections
from klpteach.model.module import Module
from klpteach.model.policy import behaviour
from klpteach.vm.fetch import debian_modules as modules_of
from klpteach.vm.fetch import fetch
from klpteach.vm.host import HostError

PERCPU = 0x30000  # as on x86_64: an offset from the start of a CPU's area
NOT_KEPT = {".modinfo", "__versions", ".data..percpu"}
ONE_BLOCK = {"core": 0xFFFFFFFFC0201000, "init": 0xFFFFFFFFC7654000}
SEPARATE = {
    "text": 0xFFFFFFFFC0201000,
    "data": 0xFFFFFFFFD1230000,
    "rodata": 0xFFFFFFFFC5000000,
    "ro_after_init": 0xFFFFFFFFDEAD0000,
    "init_text": 0xFFFFFFFFC4444000,
    "init_data": 0xFFFFFFFFE0000000,
    "init_rodata": 0xFFFFFFFFCFFFF000,
}
LAYOUTS: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "one-block": ("6.1", ONE_BLOCK),
    "separate-memory": ("6.12", SEPARATE),
    "static-calls": ("7.3", SEPARATE),  # these are read-only after init, and per-CPU data is relocated
}

both_layouts = pytest.mark.parametrize("layout", LAYOUTS)
every_sample = pytest.mark.parametrize("ko", SAMPLES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")


def kernel_symbol(name: str) -> int:
    """Where a kernel of this test has a symbol: anywhere in its text, but always there."""
    return 0xFFFFFFFF81000000 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "little")


def alloc_addresses(image: Image) -> dict[str, int]:
    """Section name -> address of all that the kernel keeps in memory, empty ones too, and of the per-CPU section."""
    names = image.file.section_names
    kept = [i for i in image.layout.places if image.file.shdrs["flags"][i] & 2 and names[i] not in OF_LD]
    found = {names[i]: image.address[i] for i in kept}
    assert len(found) == len(kept), "two sections of one name cannot be told apart in a linker script"
    return found | ({".data..percpu": PERCPU} if ".data..percpu" in names else {})


def compare_all_sections(image: Image, linked: Mapping[str, bytes]) -> None:
    """Every section with bytes in it is in both, and the same; two notes are as they were in the file."""
    file = image.file
    ours = {
        file.section_names[i]: image.bytes_of(i).tobytes() for i in image.layout.places if file.shdrs["flags"][i] & 2
    }
    for name in OF_LD:
        index = file.section_index(name)
        assert index is None or ours.pop(name) == file.section_bytes(index)
    ours = {name: body for name, body in ours.items() if body}
    if image.percpu_template.any():
        assert image.percpu_template.tobytes() == linked[".data..percpu"]
    assert sorted(ours) == sorted(set(linked) - NOT_KEPT)
    for name, body in ours.items():
        assert body == linked[name], first_difference(file.data, name, body, linked[name])


def model_and_ld_agree(path: Path, layout: str, folder: Path) -> None:
    release, bases = LAYOUTS[layout]
    file = ModuleFile.open(path)
    image = load_image(file, bases, kernel_symbol, release=release, percpu_base=PERCPU)
    symbols = {name: kernel_symbol(name) for name in undefined_names(file.data)}
    early = [site for site in sites(file) if site.object == "vmlinux"]  # written at load; ld is asked about them below
    assert all(any(site_bytes(image, site)) for site in early)
    for site in early:
        site_bytes(image, site)[:] = bytes(site.width)
    compare_all_sections(image, ask_ld(file, image, symbols, folder))
    for site in sites(file):  # ld was not told about them, and load_image() leaves those of modules alone
        assert site.object == "vmlinux" or not any(site_bytes(image, site))


def site_bytes(image: Image, site: Site) -> memoryview:
    return image.sections[site.section][1][site.offset : site.offset + site.width]


def ask_ld(
    file: ModuleFile, image: Image, symbols: Mapping[str, int], folder: Path, *, livepatch: bool = False
) -> dict[str, bytes]:
    try:
        return link(file.data, alloc_addresses(image), symbols, folder, livepatch=livepatch)
    except Unavailable as reason:
        pytest.skip(str(reason))


@every_sample
@both_layouts
def test_ld_and_the_model_agree_on_every_byte_of_a_sample_module(ko: Path, layout: str, tmp_path: Path) -> None:
    model_and_ld_agree(ko, layout, tmp_path)


@both_layouts
def test_ld_and_the_model_agree_on_every_byte_of_debians_nfsd_and_of_50_more_modules(
    layout: str, tmp_path: Path
) -> None:
    try:
        modules = sorted(debian_modules().glob("*.ko"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert len(modules) > 50 and "nfsd.ko" in {path.name for path in modules}
    for path in modules:
        model_and_ld_agree(path, layout, tmp_path)


OF_7_3 = ("nfsd", "sunrpc", "lockd", "grace", "auth_rpcgss", "bridge", "stp", "llc", "loop", "overlay", "btrfs")


def test_ld_and_the_model_agree_on_every_byte_of_debians_modules_of_7_3(tmp_path: Path) -> None:
    try:
        kernel = fetch("7.3")
        modules = modules_of(kernel, OF_7_3)
    except HostError as reason:
        pytest.skip(str(reason))
    static_calls = 0
    for name, file in modules.items():
        path = tmp_path / f"{name}.ko"
        path.write_bytes(file.data)
        model_and_ld_agree(path, "static-calls", tmp_path)
        index = file.section_index(".static_call_sites")
        if index is not None:
            static_calls += 1
            laid = layout_sections(file, arch.of("x86_64"), behaviour("7.3"))
            assert laid.places[index][0] == "ro_after_init"
    assert static_calls


# -- livepatch relocations: ld takes them for ordinary ones ---------------------------------------------------------------

LIVEPATCHES = [ko for ko in SAMPLES if ModuleFile.open(ko).is_livepatch]
WITH_SITES = [ko for ko in LIVEPATCHES if livepatch_sections(ModuleFile.open(ko))]


def loaded_kernel(ko: Path, *proposals: str) -> tuple[Kernel, Module]:
    """A kernel with all that a livepatch patches loaded, then the livepatch; every kernel symbol at a known address."""
    livepatch = ModuleFile.open(ko)
    used = {name for path in ko.parent.glob("*.ko") for name in undefined_names(path.read_bytes())}
    wanted = [parse_symbol(site.symbol) for site in sites(livepatch)]
    looked_up = {symbol.name for symbol in wanted if symbol and symbol.object == "vmlinux"}
    kernel = Kernel(
        release=ko.parent.name.split("-")[1], proposals=proposals, ko=ko.parent,
        exports={name: kernel_symbol(name) for name in used},
        vmlinux={name: kernel_symbol(name) for name in looked_up},
    )  # fmt: skip
    kernel.rules = replace(kernel.rules, percpu_base=PERCPU)
    targets = {obj.name for obj in livepatch.klp.objects if obj.name} if livepatch.klp else set()
    for file in ("nfsd_demo.ko", *(f"{name}.ko" for name in sorted(targets - {"nfsd_demo"})), ko.name):
        assert kernel.insmod(file).errno == 0
    return kernel, kernel.modules[-1]


def address_in(kernel: Kernel, target: str, name: str, position: int = 0) -> int:
    """Where a symbol of a loaded module is, by the module's file (pyelftools) and /sys/module/TARGET/sections."""
    elf = ELFFile(io.BytesIO((kernel.ko / f"{target}.ko").read_bytes()))
    symtab = elf.get_section_by_name(".symtab")
    assert isinstance(symtab, SymbolTableSection)
    found = [s for s in symtab.iter_symbols() if s.name == name and s["st_shndx"] != "SHN_UNDEF"]
    assert len(found) == 1 or position > 0
    chosen = found[max(position, 1) - 1]
    sections = kernel.recording.steps[-1].sections
    assert sections
    section = elf.get_section(chosen["st_shndx"]).name
    start = PERCPU if section == ".data..percpu" else sections[target][section]
    return int(start + chosen["st_value"])


def symbols_for_ld(kernel: Kernel, file: ModuleFile) -> dict[str, int]:
    """Undefined symbols at the kernel's addresses (or at an export of a loaded module), livepatch symbols in their target."""
    owners = {name: module.name for module in kernel.modules for name in module.exports}
    found = {
        name: address_in(kernel, owners[name], name) if name in owners else kernel_symbol(name)
        for name in undefined_names(file.data)
    }
    for site in sites(file):  # .klp.sym.OBJECT.NAME,POSITION
        target, _, rest = site.symbol.removeprefix(".klp.sym.").partition(".")
        name, _, position = rest.rpartition(",")
        in_kernel = target == "vmlinux"
        found[site.symbol] = kernel_symbol(name) if in_kernel else address_in(kernel, target, name, int(position))
    return found


def model_and_ld_agree_on_a_loaded_livepatch(kernel: Kernel, module: Module, folder: Path) -> None:
    linked = ask_ld(module.file, module.image, symbols_for_ld(kernel, module.file), folder, livepatch=True)
    for name, (_, data) in module.image.sections.items():
        if name.startswith(
            "__klp_relocs."
        ):  # klp-build's notes: ordinary relocations, made while the symbols were still 0
            linked[name] = bytes(data)
    compare_all_sections(module.image, linked)
    assert all(any(linked[site.section][site.offset : site.offset + site.width]) for site in sites(module.file)), (
        "a site was not written"
    )


@pytest.mark.parametrize("ko", LIVEPATCHES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")
def test_ld_writes_the_same_bytes_at_the_sites_of_an_enabled_livepatch(ko: Path, tmp_path: Path) -> None:
    model_and_ld_agree_on_a_loaded_livepatch(*loaded_kernel(ko), tmp_path)


@pytest.mark.parametrize("ko", WITH_SITES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")
def test_ld_writes_the_same_bytes_after_the_targets_came_back_elsewhere(ko: Path, tmp_path: Path) -> None:
    proposals = ["clear-checked"] if "6.1-" in f"{ko.parent.name}-" else []  # 6.1 would refuse the second load
    kernel, module = loaded_kernel(ko, *proposals)
    assert module.file.klp
    before = kernel.recording.steps[-1].sections
    targets = sorted((obj.name for obj in module.file.klp.objects if obj.name), key="nfsd_demo".__ne__)
    for target in reversed(targets):  # acl_demo needs nfsd_demo
        assert kernel.rmmod(target).errno == 0
    assert kernel.insmod("filler4k.ko").errno == 0  # takes the hole
    for target in targets:
        step = kernel.insmod(f"{target}.ko")
        assert step.errno == 0 and before and step.sections
        assert step.sections[target] != before[target]
    model_and_ld_agree_on_a_loaded_livepatch(kernel, module, tmp_path)


def test_the_comparison_notices_a_single_wrong_byte(tmp_path: Path) -> None:
    ko = next(ko for ko in SAMPLES if ko.name == "nfsd_demo.ko")
    file = ModuleFile.open(ko)
    image = load_image(file, ONE_BLOCK, kernel_symbol, percpu_base=PERCPU)
    linked = ask_ld(file, image, {name: kernel_symbol(name) for name in undefined_names(file.data)}, tmp_path)
    image.sections[".text"][1][5] ^= 1
    with pytest.raises(AssertionError, match=r"\.text\+0x5: .* here, .* from ld"):
        compare_all_sections(image, linked)
