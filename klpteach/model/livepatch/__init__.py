"""Livepatch, in the kernel's own rooms: structs, relocs, patch, transition, core. `kernel` is klpteach.model.kernel.Kernel."""
