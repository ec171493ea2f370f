// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_nfsd_demo for ppc64le: the same two functions as on x86_64.
 *
 * A function of another module is called through a stub, and the nop after the
 * call becomes "ld r2,24(r1)": R_PPC64_REL24. Data of another module is reached
 * through an address in .toc: R_PPC64_ADDR64. Three calls, each to another
 * function, need three stubs.
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

/* Pointers in data: R_PPC64_ADDR64 outside .toc. */
static struct {
	int (*half)(int value);
	int *third_weight;
} lp_pointers __used = { demo_half, &demo_table[2] };

static noinline int lp_demo_clamp(int value)
{
	demo_last = value;
	return value > 500 ? 500 : value;
}

static int lp_demo_show(struct seq_file *m, void *unused)
{
	int value = demo_scale(demo_counter) + *READ_ONCE(lp_pointers.third_weight);

	value = demo_half(value);
	seq_printf(m, "%s PATCHED value=%d other=%d last=%d\n", demo_banner,
		   lp_demo_clamp(value), demo_dup_second(1), demo_last);
	return 0;
}

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ .old_name = "demo_clamp", .new_func = lp_demo_clamp },
	{ }
};

#include "livepatch_one_object.h"
MODULE_DESCRIPTION("klpteach: a livepatch for nfsd_demo");
