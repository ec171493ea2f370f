// SPDX-License-Identifier: GPL-2.0
/* Data that is declared hidden: the compiler addresses it from where the code is, without the GOT (R_390_PC32DBL). */
#include "klp_demo.h"

#define HIDDEN __attribute__((visibility("hidden")))

extern int demo_counter NFSD_SYM(demo_counter) HIDDEN;
extern int demo_half(int value) NFSD_SYM(demo_half) HIDDEN;

static int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "nfsd_demo PATCHED counter=%d half=%d\n", demo_counter, demo_half(84));
	return 0;
}

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch without a GOT"
#include "livepatch_show.h"
