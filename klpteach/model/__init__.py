"""The kernel in memory: a small model that loads real module files, and leaves a step for every command.

The first sitting is the bug on x86_64, about 2,500 lines from the file's bytes to the refusal, in this order: files/elf.py,
files/relocation_types.py (the half of x86_64), files/klp.py and files/klp_patch.py (its first half); then here memory.py, layout.py, image.py, arch/x86_64.py, module.py, klp_structs.py, state.py,
livepatch/relocs.py, livepatch/core.py, loader.py, kernel.py, step.py. The second is ppc64le, about 700 lines: the other half of
relocation_types.py; arch/ppc64le.py, arch/ppc64le_section.py, arch/stubs.py, arch/frob.py. The third is arm64, about 400 lines: the
last part of relocation_types.py; arch/arm64.py, arch/arm64_section.py, arch/arm64_plt.py.

To look things up in, not to be read through: policy.py (what differs between kernels), messages.py, errno.py, kallsyms.py,
livepatch/patch.py, livepatch/transition.py, snapshot.py, compare.py, recording.py, schema.py, kmod.py, split.py, load_image.py,
arch/fast.py, arch/loader_file.py, arch/sort.py.
"""
