// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_nfsd_demo: replaces two functions of nfsd_demo.
 *
 * It uses its target in every way that x86_64 has a relocation type for, so
 * one file shows them all. Livepatch relocations land in three sections:
 * .text, .text.unlikely and .data; the kernel walks them in that order.
 */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);			/* data */
extern int demo_table[4] NFSD_SYM(demo_table);			/* data */
extern int demo_last NFSD_SYM(demo_last);			/* bss, static */
extern const char demo_banner[] NFSD_SYM(demo_banner);		/* rodata */
extern int demo_scale(int value) NFSD_SYM(demo_scale);		/* text, static */
extern int demo_half(int value) NFSD_SYM(demo_half);		/* text, static */
extern int demo_dup_second(int value)				/* text, one of two */
	KLP_SYM(nfsd_demo, nfsd_demo, demo_dup, 2);

/*
 * R_X86_64_64: pointers in .data, filled in when nfsd_demo is loaded. __used:
 * else the compiler sees that nobody writes them here and picks .rodata.
 */
static struct {
	int (*half)(int value);
	int *third_weight;
} lp_pointers __used = { demo_half, &demo_table[2] };

/* R_X86_64_PC64: the distance from here to demo_counter, which C cannot spell. */
extern const long lp_distance;
asm(".pushsection .data\n"
    "	.balign 8\n"
    "lp_distance:\n"
    "	.quad " KLP_NAME(nfsd_demo, nfsd_demo, demo_counter, 0) " - .\n"
    "	.popsection");

/*
 * Rarely used code is often kept apart, and a section of its own means a
 * livepatch section of its own. (__cold would say it better, but newer kernels
 * define it away for this compiler.)
 */
static noinline __section(".text.unlikely") int lp_demo_clamp(int value)
{
	demo_last = value;
	return value > 500 ? 500 : value;
}

static int lp_demo_show(struct seq_file *m, void *unused)
{
	int *counter = (void *)&lp_distance + READ_ONCE(lp_distance);
	int value = demo_scale(demo_counter) +		/* PLT32, PC32 */
		    demo_table[*counter & 3] +		/* 32S: an index register, no %rip */
		    *READ_ONCE(lp_pointers.third_weight);

	value = READ_ONCE(lp_pointers.half)(value);
	seq_printf(m, "%s PATCHED value=%d other=%d last=%d\n", demo_banner,
		   lp_demo_clamp(value), demo_dup_second(1), demo_last);
	return 0;
}

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ .old_name = "demo_clamp", .new_func = lp_demo_clamp },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "nfsd_demo", .funcs = nfsd_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int __init livepatch_init(void)
{
	return klp_enable_patch(&patch);
}

/* Empty, but without it the module could never be removed. */
static void __exit livepatch_exit(void)
{
}

module_init(livepatch_init);
module_exit(livepatch_exit);
MODULE_DESCRIPTION("klpteach: a livepatch for nfsd_demo");
MODULE_LICENSE("GPL");
#ifndef LEAVE_UNMARKED
MODULE_INFO(livepatch, "Y");	/* what makes the kernel treat it as a livepatch */
#endif
