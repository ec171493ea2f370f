// SPDX-License-Identifier: GPL-2.0
/* Takes the address of a function of its target and calls that: the address comes from the GOT. */
#include "klp_demo.h"

extern int demo_half(int value) NFSD_SYM(demo_half);

static int lp_demo_show(struct seq_file *m, void *unused)
{
	int (*half)(int value) = demo_half;

	OPTIMIZER_HIDE_VAR(half);
	seq_printf(m, "nfsd_demo PATCHED half=%d\n", half(84));
	return 0;
}

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch that calls by pointer"
#include "livepatch_show.h"
