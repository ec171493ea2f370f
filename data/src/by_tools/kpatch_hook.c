// SPDX-License-Identifier: GPL-2.0
/*
 * What a livepatch of kpatch-build does when it is loaded: make a struct
 * klp_patch out of what create-diff-object has left in .kpatch.funcs and
 * .kpatch.callbacks.*, and enable it. kpatch brings such a file along; this
 * one is ours. kpatch_hook.lds says where the tables begin and end.
 *
 * As with kpatch's own, the last object comes first, and of each object the
 * last function: both arrays are filled from the end.
 */
#include <linux/module.h>
#include <linux/livepatch.h>
#include <linux/slab.h>
#include <linux/string.h>

struct kpatch_func {		/* 56 bytes each, made by create-diff-object */
	unsigned long new_addr, new_size;
	unsigned long old_addr, old_size;
	unsigned long sympos;
	const char *name;
	const char *objname;	/* "vmlinux" is spelled out */
};

struct kpatch_callback {	/* in a section for each of the four kinds */
	void *fn;
	const char *objname;
};

extern const struct kpatch_func funcs_begin[], funcs_end[];
extern const struct kpatch_callback pre_patch_begin[], pre_patch_end[];
extern const struct kpatch_callback post_patch_begin[], post_patch_end[];
extern const struct kpatch_callback pre_unpatch_begin[], pre_unpatch_end[];
extern const struct kpatch_callback post_unpatch_begin[], post_unpatch_end[];

static struct klp_patch *patch;
static size_t nr_max;		/* more objects, or functions of one, there can not be */

/* Every object has room for nr_max functions and for the empty one that ends them. */
static struct klp_func *room(const struct klp_object *obj)
{
	struct klp_object *objs = (void *)(patch + 1);
	struct klp_func *funcs = (void *)(objs + nr_max + 1);

	return funcs + (obj - objs + 1) * (nr_max + 1) - 1;
}

static struct klp_object *find_object(const char *name)
{
	struct klp_object *obj;

	if (!strcmp(name, "vmlinux"))
		name = NULL;
	for (obj = patch->objs; obj->funcs; obj++)
		if (name ? obj->name && !strcmp(obj->name, name) : !obj->name)
			return obj;
	obj = --patch->objs;
	obj->name = name;
	obj->funcs = room(obj);
	return obj;
}

#define SET_CALLBACKS(kind) do {						\
	const struct kpatch_callback *cb;					\
										\
	for (cb = kind##_begin; cb < kind##_end; cb++)				\
		find_object(cb->objname)->callbacks.kind = cb->fn;		\
} while (0)

static int __init livepatch_init(void)
{
	const struct kpatch_func *func;
	int err;

	nr_max = (funcs_end - funcs_begin) + (pre_patch_end - pre_patch_begin) +
		 (post_patch_end - post_patch_begin) + (pre_unpatch_end - pre_unpatch_begin) +
		 (post_unpatch_end - post_unpatch_begin);
	patch = kzalloc(sizeof(*patch) + (nr_max + 1) * sizeof(struct klp_object) +
			nr_max * (nr_max + 1) * sizeof(struct klp_func), GFP_KERNEL);
	if (!patch)
		return -ENOMEM;
	patch->mod = THIS_MODULE;
	patch->replace = true;
	patch->objs = (struct klp_object *)(patch + 1) + nr_max;

	for (func = funcs_begin; func < funcs_end; func++) {
		struct klp_func *new = --find_object(func->objname)->funcs;

		new->old_name = func->name;
		new->new_func = (void *)func->new_addr;
		new->old_sympos = func->sympos;
	}
	SET_CALLBACKS(pre_patch);
	SET_CALLBACKS(post_patch);
	SET_CALLBACKS(pre_unpatch);
	SET_CALLBACKS(post_unpatch);

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
MODULE_DESCRIPTION("klpteach: a livepatch made by kpatch's tools");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
