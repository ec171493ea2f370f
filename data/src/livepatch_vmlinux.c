// SPDX-License-Identifier: GPL-2.0
/*
 * livepatch_vmlinux: patches the kernel itself and nfsd_demo. Its relocations
 * against vmlinux are written once, while it is loaded, and never again; those
 * against nfsd_demo follow nfsd_demo.
 */
#include "klp_demo.h"

extern char *saved_command_line KLP_SYM(vmlinux, vmlinux, saved_command_line, 0);	/* not exported */
extern int demo_counter NFSD_SYM(demo_counter);
extern const char demo_banner[] NFSD_SYM(demo_banner);

static noinline int lp_cmdline_proc_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%s klpteach\n", saved_command_line);
	return 0;
}

static noinline int lp_demo_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%s VMLINUX counter=%d\n", demo_banner, demo_counter);
	return 0;
}

static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = lp_cmdline_proc_show },
	{ }
};

static struct klp_func nfsd_funcs[] = {
	{ .old_name = "demo_show", .new_func = lp_demo_show },
	{ }
};

static struct klp_object objects[] = {
	{ .funcs = vmlinux_funcs },		/* no name: vmlinux */
	{ .name = "nfsd_demo", .funcs = nfsd_funcs },
	{ }
};

#define LIVEPATCH_DESCRIPTION "klpteach: patches vmlinux and a module"
#include "livepatch_main.h"
