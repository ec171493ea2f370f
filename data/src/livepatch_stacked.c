// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_stacked: a second livepatch over demo_show(). It does not replace
 * the first one but lies on top of it: the youngest wins, and if it is
 * disabled, the one below is in force again.
 */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);
extern const char demo_banner[] NFSD_SYM(demo_banner);
extern int demo_scale(int value) NFSD_SYM(demo_scale);

static int lp_stacked_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%s PATCHED stacked value=%d\n", demo_banner, demo_scale(demo_counter));
	return 0;
}

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_stacked_show },
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

static void __exit livepatch_exit(void)
{
}

module_init(livepatch_init);
module_exit(livepatch_exit);
MODULE_DESCRIPTION("klpteach: a second livepatch over the same function");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
