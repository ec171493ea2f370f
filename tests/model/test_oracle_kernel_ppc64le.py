"""The kernel's own C and the model agree on every byte of ppc64le modules, stubs and their order included.

arch/powerpc/kernel/module_64.c and lib/sort.c are taken from Debian's source package when the test runs and compiled as
an ordinary library; both machines are little endian with 64-bit longs. No kernel source is part of the project.
"""

from __future__ import annotations

import ctypes
import hashlib
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from oracle import KO, Unavailable, debian_modules, kernel_source

from klpteach import ModuleFile, load_image
from klpteach.model.arch.frob import heapsort
from klpteach.vm.build import source_folder
from klpteach.vm.host import HostError

HERE, SAMPLES = Path(__file__).parent, sorted(KO.glob("ppc64le-*/*.ko"))
BASE, SIZE = 0x100000000000, 64 << 20  # where a user's process has room
PROT_READ_WRITE, MAP_ANONYMOUS_PRIVATE_FIXED_NOREPLACE = 3, 0x100022


@pytest.fixture(scope="module", params=["6.1", "6.12", "7.3"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kernel(release: str, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernel's functions of a release as a library."""
    try:
        tree = source_folder(release)
        if release == "6.1" and not (tree / "lib/sort.c").exists():
            tree = kernel_source()
    except HostError as reason:
        pytest.skip(str(reason))
    if not (tree / "arch/powerpc/kernel/module_64.c").exists() or not (tree / "lib/sort.c").exists():
        pytest.skip(f"linux-source-{release} is not in the cache: klpteach vm build --arch ppc64le")
    if (tree.parent / f"aside-{release}").exists():
        pytest.skip(f"a kernel of {release} is being built: for now its source is another")
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp(f"module_64-{release}")
    parts = [(HERE / "module_64_shim.h").read_text(), '#include "asm/ppc-opcode.h"', _missing_macros()]
    parts += [_without_includes(tree / "lib/sort.c"), _without_includes(tree / "arch/powerpc/kernel/module_64.c")]
    (folder / "module_64.c").write_text("\n".join([*parts, (HERE / "module_64_run.c").read_text(), SORT]))
    include = tree / "arch/powerpc/include"
    command = ["gcc", "-w", "-O1", "-fPIC", "-shared", f"-I{include}", "-o", "module_64.so", "module_64.c"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[:2000]
    return ctypes.CDLL(str(folder / "module_64.so"))


def _without_includes(path: Path) -> str:
    text = re.sub(r"^#\s*(include|define pr_fmt).*$", "", path.read_text(), flags=re.M)
    return text.replace("(unsigned long)ftrace_caller", "FTRACE").replace(
        "(unsigned long)ftrace_regs_caller", "FTRACE_REGS"
    )


def _missing_macros() -> str:
    """Macros that moved between headers from release to release."""
    return """
#ifndef PPC_LO
#define PPC_LO(v) ((v) & 0xffff)
#define PPC_HA(v) ((((v) + 0x8000) >> 16) & 0xffff)
#endif
#ifndef PPC_INST_LD_TOC
#define PPC_INST_LD_TOC 0xe8410018
#endif
"""


SORT = """
struct keyed { long key, index, more; };
static int by_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;
	return x->key < y->key ? -1 : x->key > y->key;
}
void sort_keyed(struct keyed *rows, long count) { sort(rows, count, sizeof(*rows), by_key, NULL); }
"""


def outside(name: str) -> int:
    return 0xC000000000100000 + (int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "little") & 0xFFFFF0)


def differences(kernel: ctypes.CDLL, release: str, path: Path) -> list[str]:
    """Load one module with the kernel's code and with ours; the sections that are not the same."""
    file = ModuleFile.open(path)
    image = load_image(file, BASE, outside, release, percpu_base=0x30000)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype, libc.mmap.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long],
    )
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    if libc.mmap(BASE, SIZE, PROT_READ_WRITE, MAP_ANONYMOUS_PRIVATE_FIXED_NOREPLACE, -1, 0) != BASE:
        pytest.skip(f"no memory at {BASE:#x} in this process")
    try:
        address = np.array([image.address[i] if i in image.layout.places else 0 for i in range(len(file.shdrs))], "u8")
        values, size = image.symbols.copy(), ctypes.c_ulong()
        elf = ctypes.create_string_buffer(file.data, len(file.data))
        ftrace = [ctypes.c_ulong(outside(name)) for name in ("ftrace_caller", "ftrace_regs_caller")]
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (address, values)]
        assert kernel.run(elf, *pointers, *ftrace, ctypes.byref(size)) == 0
        assert size.value == image.sections[".stubs"][1].nbytes
        kept = [i for i in image.layout.places if i not in (file.symtab_index, file.strtab_index)]
        theirs = {i: ctypes.string_at(image.address[i], len(image.bytes_of(i))) for i in kept}
        return [file.section_names[i] for i in kept if theirs[i] != image.bytes_of(i).tobytes()]
    finally:
        libc.munmap(BASE, SIZE)


def test_every_byte_of_every_sample_is_the_kernels(kernel: ctypes.CDLL, release: str) -> None:
    assert {path.name: found for path in SAMPLES if (found := differences(kernel, release, path))} == {}


def test_every_byte_of_52_modules_of_debian_is_the_kernels(kernel: ctypes.CDLL, release: str) -> None:
    try:
        modules = sorted(debian_modules("ppc64el").glob("*.ko"))
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert {path.name: found for path in modules if (found := differences(kernel, release, path))} == {}


def test_equal_entries_are_left_where_the_kernels_sort_leaves_them(kernel: ctypes.CDLL, release: str) -> None:
    rng = random.Random(1)
    for _ in range(500):
        keys = [rng.randrange(rng.choice([1, 2, 5, 50])) for _ in range(rng.randrange(60))]
        rows = np.array([(key, index, 0) for index, key in enumerate(keys)], "i8").reshape(-1, 3)
        kernel.sort_keyed(rows.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(len(rows)))
        assert rows[:, 1].tolist() == heapsort(keys, double_pop=release != "6.1")
