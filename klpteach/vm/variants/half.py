"""half-loaded: a target that only a livepatch asks for is relocated and patched, and waits without its init()."""

from __future__ import annotations

from .edit import Edit, after, before, instead
from .pin import HARD_DEPENDENCIES, MAIN

INTERNAL_H, PROCFS = "kernel/module/internal.h", "kernel/module/procfs.c"
RMMOD = "SYSCALL_DEFINE2(delete_module"
LIVE, HALF = "mod->state == MODULE_STATE_LIVE", "mod->state == MODULE_STATE_HALF"

# fmt: off
# Left open by the proposal and chosen as is simplest: exports of a waiting module do not count; a second load goes on with
# the image that waits, whatever file it names; a failed init() leaves it waiting.
_HALF: tuple[Edit, ...] = (
    *HARD_DEPENDENCIES,
    before(INTERNAL_H, "", "/* Maximum number of characters written by module_flags() */", """\
/*
 * A module that only a livepatch has asked for: it has its memory, it is
 * relocated and patched, and its init has not run. A load by somebody else
 * goes on from there.
 */
#define MODULE_STATE_HALF	((enum module_state)(MODULE_STATE_UNFORMED + 1))
#define MODULE_INIT_HALF	8	/* for finit_module() */

"""),
    # rmmod: exit() only of what has run
    instead(MAIN, RMMOD, "mod->state != MODULE_STATE_LIVE)",
            "mod->state != MODULE_STATE_LIVE &&\n\t    mod->state != MODULE_STATE_HALF)"),
    before(MAIN, RMMOD, "\tret = try_stop_module(", f"\thas_run = {LIVE};\n"),
    instead(MAIN, RMMOD, "if (mod->exit != NULL)", "if (mod->exit != NULL && has_run)"),
    after(MAIN, RMMOD, "forced = 0;\n", "\tbool has_run;\n"),
    # what user space sees
    before(MAIN, "show_initstate", "\tswitch (", """\
	if (mk->mod->state == MODULE_STATE_HALF)
		return sprintf(buffer, "half\\n");

"""),
    before(PROCFS, "m_show", '\t\t   "Live");', f"\t\t   {HALF} ? \"Half-loaded\" :\n"),
    # who may use its symbols: nobody yet; and who waits for it: nobody
    instead(MAIN, "find_symbol", "if (mod->state == MODULE_STATE_UNFORMED)",
            f"if (mod->state == MODULE_STATE_UNFORMED ||\n\t\t    {HALF})"),
    after(MAIN, "finished_loading", LIVE + "\n", f"\t\t|| {HALF}\n"),
    # its init, once somebody really asks
    instead(MAIN, "do_init_module", "(struct module *mod)", "(struct module *mod, bool was_half)"),
    after(MAIN, "do_init_module", "fail:\n", """\
	if (was_half) {
		/* The livepatch still needs it: it goes on waiting. */
		mutex_lock(&module_mutex);
		mod->state = MODULE_STATE_HALF;
		module_put(mod);
		mutex_unlock(&module_mutex);
		wake_up_all(&module_wq);
		return ret;
	}
"""),
    before(MAIN, "", "/*\n * Allocate and load the module: note that size of section 0", """\
/* If the module waits half-loaded: run its init now. 1 where it does not. */
static int finish_half_loaded(const char *name, const char __user *uargs)
{
	struct module *mod;
	char *args;

	args = strndup_user(uargs, ~0UL >> 1);
	if (IS_ERR(args))
		return PTR_ERR(args);

	mutex_lock(&module_mutex);
	mod = find_module(name);
	if (!mod || mod->state != MODULE_STATE_HALF || !try_module_get(mod)) {
		mutex_unlock(&module_mutex);
		kfree(args);
		return 1;
	}
	mod->state = MODULE_STATE_COMING;
	mutex_unlock(&module_mutex);

	kfree(mod->args);
	mod->args = args;
	args = parse_args(mod->name, mod->args, mod->kp, mod->num_kp,
			  -32768, 32767, mod, unknown_module_param_cb);
	if (IS_ERR(args)) {
		mod->state = MODULE_STATE_HALF;
		module_put(mod);
		wake_up_all(&module_wq);
		return PTR_ERR(args);
	}

	return do_init_module(mod, true);
}

"""),
    instead(MAIN, "load_module", "\treturn do_init_module(mod);\n", """\
	if (flags & MODULE_INIT_HALF) {
		mutex_lock(&module_mutex);
		mod->state = MODULE_STATE_HALF;
		module_put(mod);
		mutex_unlock(&module_mutex);
		wake_up_all(&module_wq);
		return 0;
	}

	return do_init_module(mod, false);
"""),
    instead(MAIN, "", "|MODULE_INIT_COMPRESSED_FILE))", "|MODULE_INIT_COMPRESSED_FILE\n\t\t      |MODULE_INIT_HALF))"),
)


def _asked_again(anchor: str) -> Edit:
    """A load of what waits is noticed before anything is made of the file."""
    return before(MAIN, "load_module", anchor, """\
	if (!(flags & MODULE_INIT_HALF)) {
		err = finish_half_loaded(info->name, uargs);
		if (err <= 0)
			goto free_copy;
	}

""")


HALF_LOADED: tuple[Edit, ...] = (*_HALF, _asked_again("\terr = rewrite_section_headers("))
HALF_LOADED_6_12: tuple[Edit, ...] = (*_HALF, _asked_again("\terr = early_mod_check(info, flags);"))
