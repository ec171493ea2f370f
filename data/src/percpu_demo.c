// SPDX-License-Identifier: GPL-2.0
/*
 * percpu_demo: a target with data in two places of its own: per CPU, outside
 * the module's memory, and read-only after init.
 */
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "nfsd_demo.h"

DEFINE_PER_CPU(int, demo_percpu) = 5;
int demo_settled __ro_after_init = 7;

PATCHABLE int percpu_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "percpu_demo ORIGINAL percpu=%d settled=%d\n", this_cpu_read(demo_percpu), demo_settled);
	return 0;
}

static int __init percpu_demo_init(void)
{
	demo_settled++;
	return proc_create_single("percpu_demo", 0444, NULL, percpu_show) ? 0 : -ENOMEM;
}

static void __exit percpu_demo_exit(void)
{
	remove_proc_entry("percpu_demo", NULL);
}

module_init(percpu_demo_init);
module_exit(percpu_demo_exit);
MODULE_DESCRIPTION("klpteach: a target with per-CPU and read-only-after-init data");
MODULE_LICENSE("GPL");
