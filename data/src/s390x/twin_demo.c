// SPDX-License-Identifier: GPL-2.0
/*
 * twin_demo: takes the place that nfsd_demo has left. Whoever still uses the old
 * addresses reads 2989 (0xbad) from it, and what is written there shows in
 * /proc/twin_demo.
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static unsigned int twin_values[400] = { [0 ... 399] = 0xbad };

static int twin_show(struct seq_file *m, void *unused)
{
	int i, changed = 0;

	for (i = 0; i < ARRAY_SIZE(twin_values); i++)
		changed += READ_ONCE(twin_values[i]) != 0xbad;
	seq_printf(m, "twin_demo: %d of my values were changed\n", changed);
	return 0;
}

static int __init twin_init(void)
{
	return proc_create_single("twin_demo", 0444, NULL, twin_show) ? 0 : -ENOMEM;
}

static void __exit twin_exit(void)
{
	remove_proc_entry("twin_demo", NULL);
}

module_init(twin_init);
module_exit(twin_exit);
MODULE_DESCRIPTION("klpteach: stands where nfsd_demo was");
MODULE_LICENSE("GPL");
