"""Livepatch, file for file as kernel/livepatch: patch, relocs, transition, core. `kernel` is always a klpteach.model.state.State."""
