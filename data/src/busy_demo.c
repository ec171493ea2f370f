// SPDX-License-Identifier: GPL-2.0
/*
 * busy_demo: a target with a function that does not return while the parameter
 * says so. A livepatch for it cannot finish its transition.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/workqueue.h>

#include "nfsd_demo.h"

static bool block_transition;
module_param(block_transition, bool, 0644);
MODULE_PARM_DESC(block_transition, "stay in busy_work() as long as this is set");

static DECLARE_COMPLETION(started);

PATCHABLE void busy_work(struct work_struct *unused)
{
	complete(&started);
	while (READ_ONCE(block_transition))
		msleep(20);
}

static DECLARE_WORK(work, busy_work);

static int __init busy_demo_init(void)
{
	schedule_work(&work);
	wait_for_completion(&started);
	return 0;
}

static void __exit busy_demo_exit(void)
{
	WRITE_ONCE(block_transition, false);
	flush_work(&work);
}

module_init(busy_demo_init);
module_exit(busy_demo_exit);
MODULE_DESCRIPTION("klpteach: a target that keeps a transition waiting");
MODULE_LICENSE("GPL");
