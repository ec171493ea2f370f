"""split-per-object: user space loads and removes a livepatch of its own for each object; the kernel calls and waits."""

from __future__ import annotations

from .edit import Edit, after, before, instead

CORE = "kernel/livepatch/core.c"

# fmt: off
# Livepatches themselves are passed over, and an atomic replace replaces patches of the same object only. Which part failed
# only user space knows.
SPLIT_PER_OBJECT: tuple[Edit, ...] = (
    after(CORE, "", "#include <linux/moduleloader.h>\n", "#include <linux/umh.h>\n"),
    before(CORE, "", "struct klp_find_arg {\n", """\
/* One patch an object: a new one replaces only those of its own object. */
static bool klp_replaces(struct klp_patch *patch, struct klp_patch *old)
{
	struct klp_object *obj;

	klp_for_each_object(old, obj)
		if (klp_find_object(patch, obj))
			return true;
	return false;
}

/*
 * User space has the livepatches, by object: let it load what a coming module
 * needs, and remove what is left of a module that is gone.
 */
static int klp_ask_user(char *what, struct module *mod)
{
	char *argv[] = { "/init", what, mod->name, NULL };
	char *envp[] = { "HOME=/", "PATH=/", NULL };
	int status;

	if (is_livepatch_module(mod))
		return 0;
	status = call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);

	return status < 0 ? status : -((status >> 8) & 0xff);
}

"""),
    after(CORE, "klp_add_nops", "klp_for_each_patch(old_patch) {\n", """\
		if (!klp_replaces(patch, old_patch))
			continue;
"""),
    before(CORE, "klp_free_replaced_patches_async", "klp_free_patch_async(", "if (klp_replaces(new_patch, old_patch))\n\t\t\t"),
    before(CORE, "klp_unpatch_replaced_patches", "\t\told_patch->enabled", """\
		if (!klp_replaces(new_patch, old_patch))
			continue;
"""),
    instead(CORE, "klp_module_coming", "\treturn 0;\n", """\
	ret = klp_ask_user("coming", mod);
	if (ret)
		pr_warn("user space has no livepatch for module '%s', refusing to load it (err %d)\\n",
			mod->name, ret);
	return ret;
"""),
    after(CORE, "klp_module_going", "mutex_unlock(&klp_mutex);\n", "\n\tklp_ask_user(\"going\", mod);\n"),
)
