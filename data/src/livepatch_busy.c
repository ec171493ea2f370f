// SPDX-License-Identifier: GPL-2.0
/* livepatch_busy: patches the function that busy_demo sits in, and nfsd_demo, which may come and go meanwhile. */
#include "klp_demo.h"
#include <linux/workqueue.h>

extern int demo_counter NFSD_SYM(demo_counter);

static noinline void lp_busy_work(struct work_struct *unused)
{
}

static noinline int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "BUSY counter=%d\n", demo_counter);
	return 0;
}

static struct klp_func busy_funcs[] = {
	{ .old_name = "busy_work", .new_func = lp_busy_work },
	{ }
};

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "busy_demo", .funcs = busy_funcs },
	{ .name = "nfsd_demo", .funcs = nfsd_funcs },
	{ }
};

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch whose transition may have to wait"
#include "livepatch_main.h"
