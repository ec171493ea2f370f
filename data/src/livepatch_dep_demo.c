// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_dep_demo: a livepatch with an ordinary dependency on its target.
 *
 * It calls an exported function, so the loader binds the symbol as for any
 * module: nfsd_demo has to be there first and cannot leave before. There is
 * no livepatch relocation, and nothing to clear. "Hard dependencies" was one
 * of the ideas of the discussion; this is what it feels like.
 */
#include "klp_demo.h"
#include "nfsd_demo.h"

static int lp_dep_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "nfsd_demo PATCHED with a dependency counter=%d\n", nfsd_demo_exported());
	return 0;
}

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_dep_show },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "nfsd_demo", .funcs = nfsd_funcs },
	{ }
};

#define LIVEPATCH_DESCRIPTION "klpteach: a livepatch that depends on its target"
#include "livepatch_main.h"
