// SPDX-License-Identifier: GPL-2.0
/*
 * 124 MiB of code that takes no room in the file: there is no hole for it in the 128 MiB that hold the kernel, so the
 * module's text goes to the 2 GiB below, farther away than a branch reaches.
 */
asm(".pushsection .pad_text, \"ax\", @nobits\n"
    "	.skip 124 * 1048576\n"
    "	.popsection");
