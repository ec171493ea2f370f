// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_one_call, with as much empty text in front that on 6.12 its stubs
 * end where the page ends: what lies behind the last stub cannot be read.
 */
#include "livepatch_one_call.c"

#define PAGE 65536
#define REST 424	/* all of its other text, the seven stubs included; tests/test_vm_ppc64le.py adds it up */

asm(".pushsection .pad_text, \"ax\", @progbits\n"
    "	.balign 8\n"
    "	.skip " __stringify(PAGE) " - " __stringify(REST) "\n"
    "	.popsection");
