// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_five: a cumulative livepatch, the way distributions ship them. It
 * patches five modules; hardly any machine has all of them loaded.
 */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);
extern int lockd_grace LOCKD_SYM(lockd_grace);

static int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "nfsd_demo PATCHED counter=%d\n", demo_counter);
	return 0;
}

static int lp_lockd_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "lockd_demo PATCHED grace=%d\n", lockd_grace);
	return 0;
}

/* The three small ones are alike: see small_demo.h. */
#define FIX_FOR(obj)								\
	extern int obj##_state KLP_SYM(obj, obj, obj##_state, 0);		\
	extern int obj##_work(int value) KLP_SYM(obj, obj, obj##_work, 0);	\
	static int lp_##obj##_show(struct seq_file *m, void *unused)		\
	{									\
		seq_printf(m, #obj " PATCHED %d\n", obj##_work(obj##_state));	\
		return 0;							\
	}									\
	static struct klp_func obj##_funcs[] = {				\
		{ .old_name = #obj "_show", .new_func = lp_##obj##_show },	\
		{ }								\
	}

FIX_FOR(kvm_demo);
FIX_FOR(fuse_demo);
FIX_FOR(sunrpc_demo);

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ }
};

static struct klp_func lockd_funcs[] = {
	{ .old_name = "lockd_show", .new_func = lp_lockd_show },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "nfsd_demo", .funcs = nfsd_funcs },
	{ .name = "lockd_demo", .funcs = lockd_funcs },
	{ .name = "kvm_demo", .funcs = kvm_demo_funcs },
	{ .name = "fuse_demo", .funcs = fuse_demo_funcs },
	{ .name = "sunrpc_demo", .funcs = sunrpc_demo_funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
	.replace = true,
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
MODULE_DESCRIPTION("klpteach: a cumulative livepatch for five modules");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
