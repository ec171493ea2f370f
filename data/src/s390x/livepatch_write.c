// SPDX-License-Identifier: GPL-2.0
/* Writes to data of its target; where that is, the GOT says: R_390_GOTENT. */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);

static int lp_demo_show(struct seq_file *m, void *unused)
{
	demo_counter += 11;
	seq_printf(m, "nfsd_demo PATCHED, wrote counter=%d\n", demo_counter);
	return 0;
}

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch that writes through the GOT"
#include "livepatch_show.h"
