"""deny-removal and hard-dependencies: a patched module stays, and what is patched must be there."""

from __future__ import annotations

from .edit import Edit, after, before, behind, instead, without

CORE, MAIN, LOADER_H = "kernel/livepatch/core.c", "kernel/module/main.c", "include/linux/moduleloader.h"

# fmt: off
_FIND_AND_HOLD = (
    without(CORE, "klp_find_object_module", "\t/*\n\t * We do not want", until="*/\n"),
    instead(CORE, "klp_find_object_module", "\tif (mod && mod->klp_alive)\n",
            "\tif (mod && mod->klp_alive && try_module_get(mod))\n"),
    behind(CORE, "klp_find_object_module", """\
/*
 * A patched module stays: obj->mod is a counted reference, from the moment
 * that the module is found or comes until the patch is gone. It comes back
 * early only where the module's own load fails.
 */
static void klp_put_object_module(struct klp_object *obj)
{
	if (klp_is_module(obj) && obj->mod)
		module_put(obj->mod);
	obj->mod = NULL;
}
"""),
    after(CORE, "__klp_free_objects", "continue;\n\n", """\
		/* Somebody may still run what a forced patch has left. */
		if (!patch->forced)
			klp_put_object_module(obj);

"""),
    instead(CORE, "klp_free_object_loaded", "\tobj->mod = NULL;\n", "\tklp_put_object_module(obj);\n"),
)
_HOLD_WHAT_COMES = (
    before(CORE, "klp_module_coming", "\t\t\tobj->mod = mod;\n", "\t\t\t__module_get(mod);\n"),
    instead(CORE, "klp_module_coming", "\tobj->mod = NULL;\n", "\tklp_put_object_module(obj);\n"),
)

# The reference is given back when the patch is freed: disabled or replaced. Until rmmod of the livepatch would be another
# reading of "deny the removal". A forced patch keeps it for ever.
DENY_REMOVAL: tuple[Edit, ...] = (*_FIND_AND_HOLD, *_HOLD_WHAT_COMES)
DENY_REMOVAL_OF_LOADED: tuple[Edit, ...] = _FIND_AND_HOLD  # beside no-late-patching, under which nothing comes

# The kernel asks in klp_enable_patch(), where it first knows the targets; a target that is still coming says EBUSY.
HARD_DEPENDENCIES: tuple[Edit, ...] = (
    after(CORE, "klp_init_object", "klp_find_object_module(obj);\n\n", """\
	/* A livepatch is a module that uses its targets, like any other. */
	if (klp_is_module(obj)) {
		if (!obj->mod) {
			pr_err("%s: target module %s is not loaded (err %d)\\n",
			       patch->mod->name, obj->name, -ENOENT);
			return -ENOENT;
		}
		ret = module_use(patch->mod, obj->mod);
		if (ret)
			return ret;
	}

"""),
    behind(MAIN, "ref_module", """\
/* The same for a user that no symbol leads to: a livepatch. */
int module_use(struct module *a, struct module *b)
{
	int err;

	mutex_lock(&module_mutex);
	err = ref_module(a, b);
	mutex_unlock(&module_mutex);

	return err;
}
"""),
    before(LOADER_H, "", "/* Any cleanup needed when module leaves. */", """\
/* Module a uses b: b stays as long as a does. */
int module_use(struct module *a, struct module *b);

"""),
)
