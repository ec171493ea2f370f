// SPDX-License-Identifier: GPL-2.0
/*
 * What a livepatch of klp-build does when it is loaded: make a struct klp_patch
 * out of the tables that objtool has left in .init.klp_objects, and enable it.
 * The kernel tree brings such a file along; this one is ours, and does for
 * kernels before 6.19 too: klp_build_hook.lds says where the table begins and ends.
 */
#include <linux/module.h>
#include <linux/livepatch.h>
#include <linux/slab.h>

struct func_ext {		/* 24 bytes each, in .init.klp_funcs */
	const char *old_name;
	void *new_func;
	unsigned long sympos;
};

struct object_ext {		/* 64 bytes each, in .init.klp_objects */
	const char *name;	/* NULL for vmlinux */
	const struct func_ext *funcs;
	struct klp_callbacks callbacks;
	unsigned int nr_funcs;
};

extern const struct object_ext objects_begin[], objects_end[];

static struct klp_patch *patch;

static int __init livepatch_init(void)
{
	const struct object_ext *ext;
	struct klp_object *obj;
	struct klp_func *func;
	size_t nr_objs = objects_end - objects_begin, nr_funcs = 0, i;
	int err;

	for (ext = objects_begin; ext < objects_end; ext++)
		nr_funcs += ext->nr_funcs + 1;
	patch = kzalloc(sizeof(*patch) + (nr_objs + 1) * sizeof(*obj) + nr_funcs * sizeof(*func), GFP_KERNEL);
	if (!patch)
		return -ENOMEM;
	obj = (struct klp_object *)(patch + 1);
	func = (struct klp_func *)(obj + nr_objs + 1);
	patch->mod = THIS_MODULE;
	patch->replace = true;
	patch->objs = obj;

	for (ext = objects_begin; ext < objects_end; ext++, obj++, func++) {
		obj->name = ext->name;
		obj->callbacks = ext->callbacks;
		obj->funcs = func;
		for (i = 0; i < ext->nr_funcs; i++, func++) {
			func->old_name = ext->funcs[i].old_name;
			func->new_func = ext->funcs[i].new_func;
			func->old_sympos = ext->funcs[i].sympos;
		}
	}
	err = klp_enable_patch(patch);
	if (err)
		kfree(patch);
	return err;
}

static void __exit livepatch_exit(void)
{
	kfree(patch);
}

module_init(livepatch_init);
module_exit(livepatch_exit);
MODULE_DESCRIPTION("klpteach: a livepatch made by klp-build's objtool");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
