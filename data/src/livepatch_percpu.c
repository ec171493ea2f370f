// SPDX-License-Identifier: GPL-2.0
/* livepatch_percpu: points to per-CPU data and to data that is read-only after init. */
#include "klp_demo.h"
#include <linux/percpu.h>

extern int __percpu demo_percpu KLP_SYM(percpu_demo, percpu_demo, demo_percpu, 0);
extern int demo_settled KLP_SYM(percpu_demo, percpu_demo, demo_settled, 0);

static int __percpu *lp_percpu __used = &demo_percpu;

static noinline int lp_percpu_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "percpu_demo PATCHED percpu=%d settled=%d\n", *this_cpu_ptr(READ_ONCE(lp_percpu)), demo_settled);
	return 0;
}

static struct klp_func funcs[] = {
	{ .old_name = "percpu_show", .new_func = lp_percpu_show },
	{ }
};

static struct klp_object objects[] = {
	{ .name = "percpu_demo", .funcs = funcs },
	{ }
};

#define LIVEPATCH_DESCRIPTION "klpteach: relocations against per-CPU and read-only-after-init data"
#include "livepatch_main.h"
