// SPDX-License-Identifier: GPL-2.0
/*
 * nfsd_demo: a stand-in for nfsd, the module whose reload failed in 2019.
 *
 * It is only there to be patched. Each object below lives in another section,
 * so that a livepatch can point into text, data, bss and rodata.
 * Ask it how it feels: cat /proc/nfsd_demo
 */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "nfsd_demo.h"

int demo_counter = 100;				/* .data   */
int demo_table[4] = { 2, 3, 5, 7 };		/* .data   */
static int demo_last;				/* .bss    */
const char demo_banner[] = "nfsd_demo";		/* .rodata */

#ifdef DEMO_V2
/* The later build: one more function up here moves everything below it. */
static PATCHABLE int demo_second_thought(int value)
{
	return value ? value : demo_counter;
}
#else
#define demo_second_thought(value) (value)
#endif

#ifdef DEMO_PAD16K
/* Address space without file size: read-only like .rodata, but NOBITS. */
asm(".pushsection .pad_rodata, \"a\", @nobits\n\t.skip 16384\n\t.popsection");
#endif

#ifdef DEMO_PAD300K
static char demo_padding[300 * 1024] __used;	/* .bss */
#endif

/* nfsd_demo_dup.c has a function of this name too: position 1 and position 2. */
static PATCHABLE int demo_dup(int value)
{
	return value + 1000;
}

static PATCHABLE int demo_scale(int value)
{
	demo_last = value;
	return value * demo_table[value & 3];
}

PATCHABLE int demo_clamp(int value)
{
	return value > 9999 ? 9999 : value;
}

static PATCHABLE int demo_half(int value)
{
	return value / 2;
}

/*
 * Reached by pointer only. That its address is taken here matters: where the
 * CPU checks indirect calls (IBT), others may then call it by pointer as well.
 */
static int (*demo_step)(int value) = demo_half;

PATCHABLE int demo_show(struct seq_file *m, void *unused)
{
	int value = READ_ONCE(demo_step)(demo_scale(demo_dup(demo_counter++)));

	seq_printf(m, "%s ORIGINAL value=%d other=%d last=%d\n", demo_banner,
		   demo_clamp(demo_second_thought(value)), demo_other_unit(1), demo_last);
	return 0;
}

/* Whoever calls this gets an ordinary dependency: rmmod nfsd_demo then says "in use". */
PATCHABLE int nfsd_demo_exported(void)
{
	return demo_counter;
}
EXPORT_SYMBOL_GPL(nfsd_demo_exported);

static int __init nfsd_demo_init(void)
{
#ifdef DEMO_FAILINIT
	/* Too late for the livepatches: they have been applied before init runs. */
	return -ENODEV;
#endif
	if (!proc_create_single("nfsd_demo", 0444, NULL, demo_show))
		return -ENOMEM;
	return 0;
}

static void __exit nfsd_demo_exit(void)
{
	remove_proc_entry("nfsd_demo", NULL);
}

module_init(nfsd_demo_init);
module_exit(nfsd_demo_exit);
MODULE_DESCRIPTION("klpteach: the module that is patched, removed and loaded again");
MODULE_LICENSE("GPL");
