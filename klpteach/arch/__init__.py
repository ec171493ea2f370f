"""One file an architecture: its relocation types as a table, and the kernel's loop over them."""
