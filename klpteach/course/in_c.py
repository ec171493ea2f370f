"""The kernel's functions that matter here, told again in C of our own, beside the model's and the bytes that they move.

Names and order are the kernel's, the lines are not: what stands in the kernel is one call away, as kt.source() shows it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from ..errors import one_of
from ..model import arch as architectures
from ..model.livepatch.core import klp_module_coming
from ..model.livepatch.patch import klp_patch_object
from ..model.recording import Recording
from ..scenarios.simulate import simulate
from ..views.reply import inline
from ..views.shown import Shown, escape
from ..views.table import LEFT, Table

_MODEL = "In this course's model; skip it unless you mean to change that"
_TREE = "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/{file}?h=v{version}"


@dataclass(frozen=True, repr=False)
class InC(Shown):
    """One function, re-told. real: its name in the kernel, in a file of a release, as it was read there. model: the same in the
    model. story: what it does to the bytes at one site.
    """

    c: str
    real: str
    file: str
    release: str
    arch: str
    model: Sequence[Callable[..., Any]]
    story: Callable[[], Recording]
    site: str
    note: str = ""

    def to_html(self) -> str:
        box = "white-space:pre-wrap;overflow-wrap:anywhere;font-size:12.5px;line-height:1.45;margin:0"
        grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(27em,100%),1fr));gap:4px 18px"
        sides = "".join(
            f'<div><p><strong>{title}</strong></p><pre style="{box}">{escape(code)}</pre></div>'
            for title, code in (("In C, in our words", self.c), (_MODEL, self.python))
        )
        link = f'<a href="{escape(self.address)}">{escape(self.file)}</a>'
        where = f"<code>{escape(self.real)}()</code> in {link}, read in Linux {escape(self.release)}."
        return f'<div style="{grid}">{sides}</div><p>{where} {inline(self.hint)}</p>{self.moved().to_html()}'

    def to_text(self) -> str:
        where = f"{self.real}() in {self.file}, read in Linux {self.release}. {self.hint}".replace("`", "")
        return "\n\n".join([self.c, self.python, where, self.moved().to_text()])

    @property
    def hint(self) -> str:
        """How to see the kernel's own lines."""
        other = "" if self.arch == "x86_64" else f', arch="{self.arch}"'
        return f'The kernel\'s own lines: `kt.source("{self.real}", "{self.release}"{other})`.'

    @property
    def address(self) -> str:
        return _TREE.format(file=self.file, version=self.release)

    @property
    def python(self) -> str:
        """The model's code without its docstrings and comments."""
        return "\n\n".join(map(bare, self.model))

    def moved(self) -> Table:
        """The bytes at one site, after each command."""
        story = self.story()
        rows = [(f"`{step.command}`", str(step.errno), _bytes((step.sites or {}).get(self.site))) for step in story]
        where = f"{story.arch}, {story.release}" + (f", with {', '.join(story.proposals)}" if story.proposals else "")
        caption = f"The bytes that it moves, in the story “{story.title}” ({where}):"
        return Table(("command", "errno", f"bytes at `{self.site}`"), rows, caption, note=self.note, css=LEFT)


def _bytes(value: bytes | None) -> str:
    return "not in memory" if value is None else f"`{value.hex(' ')}`"


def bare(function: Callable[..., Any]) -> str:
    """A function's code without docstring and comments."""
    tree = ast.parse(dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


_FIRST = "livepatch_nfsd_demo:.text+0x17"


def _retold() -> Mapping[str, InC]:
    x86, power = "arch/x86/kernel/module.c", "arch/powerpc/kernel/module_64.c"
    return {
        "__apply_relocate_add": InC(
            """\
int __apply_relocate_add(relsec)          /* one section of relocations */
{
    for (rel = first(relsec); rel; rel = next(rel)) {
        loc = place_of(rel);                        /* P */
        val = address_of(rel->sym) + rel->addend;   /* S + A */

        if (bytes_at(loc, width_of(rel)) != 0)
            return complain(rel, loc, val);         /* -ENOEXEC */
        if (is_distance(rel))
            val = val - loc;                        /* S + A - P */
        write(loc, &val, width_of(rel));
    }
    return 0;
}""",
            "__apply_relocate_add", x86, "6.1", "x86_64",
            (architectures.of("x86_64").apply_relocate_add, architectures.check_zero),
            lambda: simulate("reload", "6.1"), _FIRST,
            "The check comes before the subtraction: up to 6.2 the `val` in the log is S + A."),
        "klp_module_coming": InC(
            """\
int klp_module_coming(mod)          /* state COMING, init() not yet run */
{
    for each enabled patch, the oldest first {
        if (!(obj = object_for(patch, mod->name)))
            continue;
        err = klp_init_object_loaded(patch, obj)     /* relocations */
           ?: klp_pre_patch_callback(obj) ?: klp_patch_object(obj);
        if (err)
            goto undo;
        klp_post_patch_callback(obj);
    }
    return 0;
undo:
    return klp_cleanup_module_patches_limited(mod, patch), err;
}""",
            "klp_module_coming", "kernel/livepatch/core.c", "6.1", "x86_64", (klp_module_coming,),
            lambda: simulate("late", "6.1"), _FIRST,
            "The cleanup goes up to this patch and leaves it out: what it wrote stays."),
        "__write_relocate_add": InC(
            """\
int __write_relocate_add(relsec, bool apply)
{
    for (rel = first(relsec); rel; rel = next(rel)) {
        loc = place_of(rel);
        val = whole_sum(rel, loc);        /* S + A, or S + A - P */
        size = width_of(rel);             /* 4 or 8 */

        wanted = apply ? zeros : &val;    /* what must be there */
        if (memcmp(loc, wanted, size) != 0)
            return complain(rel, loc, val);
        write(loc, apply ? &val : zeros, size);
    }
    return 0;
}""",
            "__write_relocate_add", x86, "6.12", "x86_64", (architectures.of("x86_64").clear_relocate_add,),
            lambda: simulate("reload", "6.12"), "livepatch_nfsd_demo:.text+0x2b",
            "Since 6.3 one function for both ways (0c05e7bd2d01); the model keeps the way back by itself, as clear_relocate_add()."),
        "restore_r2": InC(
            """\
int restore_r2(u32 *insn)                /* the word behind a call */
{
    if (!calls_and_returns(insn - 1))
        return 0;                        /* a jump: nobody comes back */
    if (*insn == LD_R2)
        return 0;                        /* since 6.3: ours, from before */
    if (*insn != NOP)
        return complain(insn);           /* -ENOEXEC, prints *insn */
    return patch_instruction(insn, LD_R2);
}""",
            "restore_r2", power, "6.12", "ppc64le", (architectures.Section.restore_r2,),
            lambda: simulate("reload", "6.12", arch="ppc64le"), "livepatch_nfsd_demo:.text+0x74",
            "The middle test is the merged fix (37251c7114e1, 6.3). The call and the word behind it, lowest byte first: `18 00 41 e8` is e8410018. Nothing is taken back."),
        "deny-removal": InC(
            """\
int klp_patch_object(obj)                /* proposed, not in any kernel */
{
    if (!try_module_get(obj->mod))
        return -ENODEV;                  /* it is going already */
    return redirect(obj);
}

int try_stop_module(mod)                 /* rmmod: this is in the kernel */
{
    if (module_refcount(mod) != 0)
        return -EWOULDBLOCK;             /* -11: in use */
    return set_state(mod, MODULE_STATE_GOING);
}""",
            "try_stop_module", "kernel/module/main.c", "6.1", "x86_64", (klp_patch_object,),
            lambda: simulate("init-fails", "6.1", ["deny-removal"]), _FIRST,
            "A reference keeps what has arrived. The first load here never does, and its bytes stay in the livepatch."),
    }  # fmt: skip


def in_c(name: str) -> InC:
    """A function of the kernel in C of our own, five to fifteen lines, with the model's and what it does to four bytes.

    Errors: KlpteachError for one that is not re-told, which names those that are.

    >>> print(in_c("restore_r2").c.splitlines()[0])
    int restore_r2(u32 *insn)                /* the word behind a call */
    """
    retold = _retold()
    return retold[one_of(name, retold, "function")]
