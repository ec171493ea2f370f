"""The ppc64le half of the evidence. Debian's own ppc64el kernel has no CONFIG_LIVEPATCH, so kernels are built."""
