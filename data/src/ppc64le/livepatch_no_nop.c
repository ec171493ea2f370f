// SPDX-License-Identifier: GPL-2.0
/* Wrong on purpose: after the call stands "li r3,1" where the kernel wants a nop. */
#include "klp_demo.h"

int lp_demo_clamp(int value);
asm(".pushsection .text\n"
    "	.balign 8\n"
    "	.globl lp_demo_clamp\n"
    "	.type lp_demo_clamp, @function\n"
    "lp_demo_clamp:\n"
    "	mflr 0\n"
    "	std 0, 16(1)\n"
    "	stdu 1, -32(1)\n"
    "	bl " KLP_NAME(nfsd_demo, nfsd_demo, demo_half, 0) "\n"
    "	li 3, 1\n"
    "	addi 1, 1, 32\n"
    "	ld 0, 16(1)\n"
    "	mtlr 0\n"
    "	blr\n"
    "	.size lp_demo_clamp, . - lp_demo_clamp\n"
    "	.popsection");

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_clamp", .new_func = lp_demo_clamp },
	{ }
};

#include "livepatch_one_object.h"
MODULE_DESCRIPTION("klpteach: a livepatch with a call and no nop after it");
