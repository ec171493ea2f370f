// SPDX-License-Identifier: GPL-2.0
/* Everything through a table of addresses in its own data: R_390_64, and no GOT. */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);
extern int demo_half(int value) NFSD_SYM(demo_half);

static struct {
	int *counter;
	int (*half)(int value);
} volatile lp_pointers __used = { &demo_counter, demo_half };

static int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "nfsd_demo PATCHED counter=%d half=%d\n", *lp_pointers.counter, lp_pointers.half(84));
	return 0;
}

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch with a table of addresses"
#include "livepatch_show.h"
