// SPDX-License-Identifier: GPL-2.0
/*
 * acl_demo: a target that needs another module. It calls an exported function
 * of nfsd_demo, as nfsd calls those of sunrpc, so it depends on it: it can not
 * be loaded without nfsd_demo, and nfsd_demo can not go before it.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "nfsd_demo.h"

static int acl_checks;			/* .bss */

static PATCHABLE int acl_allowed(int count)
{
	return count < 1000;
}

static PATCHABLE int acl_show(struct seq_file *m, void *unused)
{
	acl_checks++;
	seq_printf(m, "acl_demo ORIGINAL allowed=%d checks=%d\n",
		   acl_allowed(nfsd_demo_exported()), acl_checks);
	return 0;
}

static int __init acl_demo_init(void)
{
	return proc_create_single("acl_demo", 0444, NULL, acl_show) ? 0 : -ENOMEM;
}

static void __exit acl_demo_exit(void)
{
	remove_proc_entry("acl_demo", NULL);
}

module_init(acl_demo_init);
module_exit(acl_demo_exit);
MODULE_DESCRIPTION("klpteach: a target that calls another module");
MODULE_LICENSE("GPL");
