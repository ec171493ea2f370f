// SPDX-License-Identifier: GPL-2.0
/*
 * Fails half way: a variable through the GOT, and a pointer to a function that
 * only nfsd_demo_v2 has. The section of the code comes first, so its slot is
 * filled before nfsd_demo is refused.
 */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);
extern int demo_second_thought(int value) NFSD_SYM(demo_second_thought);

static int (*volatile lp_second)(int value) __used = demo_second_thought;

static int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "nfsd_demo PATCHED counter=%d thought=%d\n", demo_counter, lp_second(84));
	return 0;
}

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch of which one half cannot be applied"
#include "livepatch_show.h"
