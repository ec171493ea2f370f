"""Entries of arm64's .plt are written late as the other late relocations are, through the alias. Nothing else is mended."""

from __future__ import annotations

from .edit import Edit, before, instead, without

MODULE_PLTS = "arch/arm64/kernel/module-plts.c"

# fmt: off
POKE: tuple[Edit, ...] = (
    before(MODULE_PLTS, "", "static struct plt_entry __get_adrp_add_pair(", "#include <asm/text-patching.h>\n\n"),
    before(MODULE_PLTS, "", "u64 module_emit_plt_entry(struct module *mod,", """\
/* klpteach, poke: .plt is read-only once the module is formed */
static void klpteach_store(struct module *mod, struct plt_entry *at, struct plt_entry entry)
{
	if (mod->state == MODULE_STATE_UNFORMED)
		*at = entry;
	else
		aarch64_insn_copy(at, &entry, sizeof(entry));
}

"""),
    instead(MODULE_PLTS, "", "\tplt[i] = get_plt_entry(val, &plt[i]);\n",
            "\tklpteach_store(mod, &plt[i], get_plt_entry(val, &plt[i]));\n"),
    instead(MODULE_PLTS, "", "\tplt[i] = __get_adrp_add_pair(val, (u64)&plt[i], rd);\n", """\
	struct plt_entry veneer = __get_adrp_add_pair(val, (u64)&plt[i], rd);

	veneer.br = cpu_to_le32(br);
	klpteach_store(mod, &plt[i], veneer);
"""),
    without(MODULE_PLTS, "", "\tplt[i].br = cpu_to_le32(br);\n"),
)
# fmt: on
