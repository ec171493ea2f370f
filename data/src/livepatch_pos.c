// SPDX-License-Identifier: GPL-2.0
/* livepatch_pos: replaces the second of nfsd_demo's two functions named demo_dup, and no other. */
#include "klp_demo.h"

extern int demo_counter NFSD_SYM(demo_counter);

static noinline int lp_demo_dup(int value)
{
	return value + demo_counter;
}

static struct klp_func funcs[] = {
	{ .old_name = "demo_dup", .new_func = lp_demo_dup, .old_sympos = 2 },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "nfsd_demo", .funcs = funcs },
	{ }
};

#define LIVEPATCH_DESCRIPTION "klpteach: patches a function that shares its name"
#include "livepatch_main.h"
