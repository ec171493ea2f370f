"""How the explorer's controls look: one panel in the frame of the picture, and the groups that proposals stand in.

The widgets are ipywidgets' own; what they look like is this style alone, and without it nothing is lost but its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

from ...model import policy
from ..style import palette

# What a proposal changes in the model says in which group it stands; the first that fits.
GROUPS: Mapping[str, frozenset[str]] = {
    "Take back or use again": frozenset({"clear", "clear_on_error", "stubs", "slots", "plt_keep"}),
    "Keep the module": frozenset({"pin_targets", "depend_on_targets", "half_load"}),
    "Forbid lateness": frozenset({"late_patching", "refuse_unpatched", "refuse_by_version"}),
    "Split": frozenset({"split_per_object"}),
    "Leave or drop the check": frozenset({"check_zero", "tolerate_r2"}),
}


def groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Proposals by what they change, those about the check first.

    >>> groups(["remove-check", "clear-relocations", "deny-removal"])["Keep the module"]
    ['deny-removal']
    """
    first = list(GROUPS)[-1]
    found: dict[str, list[str]] = {first: [], **{title: [] for title in GROUPS}}
    for name in names:
        changed = {switch for release in policy.RELEASES.values() for switch in _changed(name, release)}
        found[next(title for title, switches in GROUPS.items() if switches & changed)].append(name)
    return found


def _changed(name: str, release: policy.Behaviour) -> set[str]:
    after = policy.PROPOSALS[name].change(release)
    return {one.name for one in fields(release) if getattr(after, one.name) != getattr(release, one.name)}


_CSS = """
.kc{{container-type:inline-size;border:1px solid {line};border-radius:8px;background:{bg};color:{fg};overflow:hidden;
    font:13px/1.4 var(--jp-ui-font-family,system-ui,sans-serif)}}
.kc .widget-html-content{{line-height:inherit;font-size:inherit}}
.kc>*{{margin:0;width:100%}}
.kc .kx{{border:0;border-radius:0;border-top:1px solid {line}}}
.kc .kc-row{{display:flex;flex-flow:row wrap;align-items:center;gap:4px 12px;padding:3px 14px;background:{pane};overflow:visible;width:100%}}
.kc .kc-row+.kc-row,.kc .kc-row+.kc-side,.kc .kc-side+.kc-row,.kc .kc-side+.kc-side{{border-top:1px solid {line}}}
.kc .kc-row>*{{margin:0;flex:none}} .kc .kc-space{{flex:1 1 0!important}}
.kc .widget-label,.kc .widget-checkbox label,.kc .widget-checkbox span{{font-size:13px;color:{fg}}}
.kc .widget-dropdown>.widget-label{{font-weight:600;width:auto;margin-right:6px}}
.kc .widget-checkbox{{height:auto;min-height:20px;line-height:20px;width:auto;margin:0;overflow:visible}}
.kc .widget-checkbox label{{display:flex;align-items:flex-start;gap:7px;line-height:18px;white-space:normal;padding:1px 0}}
.kc .widget-checkbox input{{width:14px;height:14px;margin:2px 0 0;flex:none}}
.kc .kc-side{{display:grid;grid-template-columns:140px minmax(0,1fr);gap:1px 12px;padding:4px 14px 2px;background:{pane};overflow:visible;width:100%}}
.kc .kc-side>*{{margin:0;overflow:visible}}
.kc .kc-kernel{{display:flex;flex-flow:column;gap:3px}} .kc .kc-kernel>*{{margin:0}}
.kc .kc-kernel b{{font-size:14px;font-weight:600}} .kc .kc-kernel small{{font-size:12px;color:{soft};display:block}}
.kc .kc-groups{{display:grid;grid-auto-flow:column;grid-auto-columns:auto;gap:4px 10px;overflow:visible}}
.kc .kc-group{{border-left:2px solid {line};padding-left:9px;overflow:visible;margin:0}} .kc .kc-group>*{{margin:0}}
.kc .kc-group .widget-html{{height:auto;min-height:0}} .kc .kc-group h5{{margin:0;font-size:12px;font-weight:600;color:{soft};line-height:17px}}
.kc .kc-tips{{grid-column:1/-1;font-size:12px;color:{soft};height:auto;min-height:17px}} .kc .kc-tips span{{display:none}} .kc .kc-side+.kc-side .kc-tips i{{display:none}}
.kc .kc-tips i{{font-style:normal}} .kc .kc-tips b{{color:{fg}}}
.kc .kc-side:has(.kc-groups :is(label:hover,:focus-visible)) .kc-tips i{{display:none}}
.kc .kc-where{{font-size:14px;font-weight:600;white-space:nowrap;min-width:86px}} .kc .kc-where .widget-html-content{{white-space:nowrap}}
.kc .kc-row .jupyter-button{{height:30px;line-height:28px;padding:0 18px;width:auto;font-size:13px;border-radius:4px}}
.kc .kc-row .jupyter-button:not(.mod-primary){{border:1px solid {soft};background:{bg}}}
.kc .kc-slider>.widget-label{{display:none}}
.kc .kc-row .kc-who{{flex:1 1 200px;font-size:12px;color:{soft};height:auto;line-height:1.3}}
.kc .kc-question{{background:{blue-tint};padding:4px 14px}}
.kc>.kc-gone{{display:none;padding:8px 14px;background:{orange-tint};border-bottom:2px solid {orange};font-size:14px;height:auto}}
.kc.jupyter-widgets-disconnected>.kc-gone{{display:block}}
.kc.jupyter-widgets-disconnected::before,.kc .jupyter-widgets-disconnected::before{{display:none!important}}
@container (max-width:1000px){{.kc .kc-groups{{grid-auto-flow:row;grid-template-columns:repeat(auto-fit,minmax(178px,1fr))}}}}
@container (max-width:860px){{.kc .kc-side{{grid-template-columns:minmax(0,1fr)}} .kc .kc-kernel{{flex-flow:row wrap;gap:4px 14px;align-items:center}}
    .kc .kc-kernel small{{display:inline;margin-left:6px}}}}
"""


def panel_style() -> str:
    """The <style> of the panel. What a proposal does is shown for the one under the mouse or under the keyboard's focus."""
    shown = "".join(
        f".kc-side:has(.kb-{name} :is(label:hover,:focus-visible),.kb-{name}:hover) .kt-{name}{{display:inline!important}}"
        for name in policy.PROPOSALS
    )
    return f"<style>{_CSS.format_map(palette(live=True))}{shown}</style>".replace("\n", "")
