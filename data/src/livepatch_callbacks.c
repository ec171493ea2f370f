// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_callbacks: its pre_patch callback returns what the parameter says,
 * so that a story can let the last step before patching fail.
 */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);

static int pre_patch_ret;
module_param(pre_patch_ret, int, 0644);
MODULE_PARM_DESC(pre_patch_ret, "what the pre_patch callback returns");

static int pre_patch(struct klp_object *obj)
{
	return pre_patch_ret;
}

static noinline int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "CALLBACKS counter=%d\n", demo_counter);
	return 0;
}

static struct klp_func funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "nfsd_demo", .funcs = funcs, .callbacks = { .pre_patch = pre_patch } },
	{ }
};

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch whose pre_patch callback can fail"
#include "livepatch_main.h"
