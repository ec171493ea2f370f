/* SPDX-License-Identifier: GPL-2.0 */
/* The rest of a livepatch that replaces demo_show by lp_demo_show and nothing else. */

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "nfsd_demo", .funcs = nfsd_funcs },
	{ }
};

#include "livepatch_main.h"
