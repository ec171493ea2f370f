// SPDX-License-Identifier: GPL-2.0
/*
 * Takes module address space and keeps it: on ppc64 modules and vmalloc() share
 * one area. echo 3 > /sys/module/room_demo/parameters/take takes three pages
 * (each with a guard page behind), 0 gives everything back. The first holes go
 * first, so the next module lands elsewhere.
 */
#include <linux/module.h>
#include <linux/vmalloc.h>

struct room {
	struct room *next;
};
static struct room *taken;

static void give_back(void)
{
	while (taken) {
		struct room *room = taken;

		taken = room->next;
		vfree(room);
	}
}

static int take(const char *value, const struct kernel_param *param)
{
	unsigned int count;
	int error = kstrtouint(value, 0, &count);

	if (error)
		return error;
	if (!count)
		give_back();
	while (count--) {
		struct room *room = vmalloc(PAGE_SIZE);

		if (!room)
			return -ENOMEM;
		room->next = taken;
		taken = room;
	}
	return 0;
}

static const struct kernel_param_ops take_ops = { .set = take };
module_param_cb(take, &take_ops, NULL, 0200);

static int __init room_init(void)
{
	return 0;
}

static void __exit room_exit(void)
{
	give_back();
}

module_init(room_init);
module_exit(room_exit);
MODULE_DESCRIPTION("klpteach: takes address space between two loads");
MODULE_LICENSE("GPL");
