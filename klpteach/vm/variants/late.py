"""no-late-patching and refuse-unpatched: what comes after a livepatch comes up unpatched, or does not come."""

from __future__ import annotations

from .edit import Edit, instead, without

CORE = "kernel/livepatch/core.c"

# fmt: off
# Names under which a module came too late are no longer enough to find what was patched; and nothing fails half way.
_ONLY_THE_PATCHED = (
    without(CORE, "klp_module_coming", "\nerr:\n", until="return ret;\n"),
    without(CORE, "klp_cleanup_module_patches_limited", "\t\tif (patch == limit)\n", until="break;\n\n"),
    instead(CORE, "klp_cleanup_module_patches_limited", "if (!klp_is_module(obj) || strcmp(obj->name, mod->name))\n", """\
/* Of those with its name: one that came too late has no patch. */
			if (obj->mod != mod)
"""),
    instead(CORE, "klp_cleanup_module_patches_limited", "klp_cleanup_module_patches_limited(struct module *mod,\n",
            "klp_cleanup_module_patches(struct module *mod)", until=")"),
    instead(CORE, "klp_module_going", "\tklp_cleanup_module_patches_limited(mod, NULL);\n",
            "\tklp_cleanup_module_patches(mod);\n"),
    instead(CORE, "", " The list of\n", "\n", until="will be handled.\n"),
)

# A module that was patched, removed and loaded again comes up unpatched too; a newer livepatch may patch it.
NO_LATE_PATCHING: tuple[Edit, ...] = (
    without(CORE, "klp_module_coming", "\tint ret;\n", until="*obj;\n\n"),
    without(CORE, "klp_module_coming", "\tklp_for_each_patch(patch) {\n", until="\t\t}\n\t}\n\n"),
    *_ONLY_THE_PATCHED,
)
# By name, whatever version the file is, and also while the patch is in transition.
REFUSE_UNPATCHED: tuple[Edit, ...] = (
    without(CORE, "klp_module_coming", "\tint ret;\n"),
    instead(CORE, "klp_module_coming", "\t\t\tobj->mod = mod;\n", """\
			/* Too late to be patched: then it must not run at all. */
			pr_err("%s: livepatch %s is enabled and can no longer patch it, refusing to load (err %d)\\n",
			       mod->name, patch->mod->name, -EPERM);
			mod->klp_alive = false;
			mutex_unlock(&klp_mutex);
			return -EPERM;
""", until="break;\n"),
    *_ONLY_THE_PATCHED,
)
