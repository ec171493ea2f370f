/* SPDX-License-Identifier: GPL-2.0 */
/* lp_half() in assembler, for relocation types that the compiler does not make; CALL is the middle of it. */
#include "klp_demo.h"

#define DEMO_HALF KLP_NAME(nfsd_demo, nfsd_demo, demo_half, 0)

int lp_half(int value);

#define LP_HALF(call, behind)							\
	asm(".pushsection .text\n"						\
	    ".balign 8\n"							\
	    ".type lp_half, @function\n"					\
	    ".globl lp_half\n"							\
	    "lp_half: stmg %r12, %r15, 96(%r15)\n"				\
	    "aghi %r15, -160\n"							\
	    call "\n"								\
	    "lmg %r12, %r15, 256(%r15)\n"					\
	    "br %r14\n"								\
	    ".size lp_half, . - lp_half\n"					\
	    behind "\n"								\
	    ".popsection")

static int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "nfsd_demo PATCHED half=%d\n", lp_half(84));
	return 0;
}
