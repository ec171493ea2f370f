// SPDX-License-Identifier: GPL-2.0
/*
 * A sibling call: the last thing the function does is a plain branch ("b", not
 * "bl"), so nothing comes back to it and no nop stands behind. The compiler
 * makes none across modules, hence the assembly. Its caller is livepatch's own
 * trampoline, which restores r2 itself.
 */
#include "klp_demo.h"

int lp_demo_clamp(int value);
asm(".pushsection .text\n"
    "	.balign 8\n"
    "	.globl lp_demo_clamp\n"
    "	.type lp_demo_clamp, @function\n"
    "lp_demo_clamp:\n"
    "	addi 3, 3, 2\n"
    "	b " KLP_NAME(nfsd_demo, nfsd_demo, demo_half, 0) "\n"
    "	.size lp_demo_clamp, . - lp_demo_clamp\n"
    "	.popsection");

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_clamp", .new_func = lp_demo_clamp },
	{ }
};

#include "livepatch_one_object.h"
MODULE_DESCRIPTION("klpteach: a livepatch whose only call is a plain branch");
