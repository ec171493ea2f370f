"""Real kernels under QEMU: fetch one, run a story on it command by command, and record what it did.

fetch (Debian's kernel packages into a cache folder), initramfs (the guest's files), qemu (boot, console, time limit),
record (what the agent in the guest says, as a Recording). Needs Linux, apt, gcc and qemu; says which is missing.
"""
