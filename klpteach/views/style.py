"""Colours, letters and words of the pictures: one palette, live for a page and fixed for an image, and the CSS made of it."""

from __future__ import annotations

from ..reading.verdict import SYMBOLS

# Okabe and Ito's colours, which all eyes can tell apart
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE, SKY, YELLOW = "#D55E00", "#CC79A7", "#56B4E9", "#F0E442"
BROWN = "#6B2D0E"  # a ninth, darker than them all
SOFT_GREY = "#555555"  # words beside, and what is gone
LETTERS = {"file": "·", "written": "w", "kept": "k", "stale": "S", "cleared": "c", "foreign": "F", "absent": "–", "unknown": "?"}  # fmt: skip
MEANING = {
    "file": "as in the file", "written": "written by this step", "kept": "unchanged, its target is loaded",
    "stale": "stale, from load {n} of the target", "cleared": "put back to the file's bytes",
    "foreign": "written by something else", "absent": "livepatch not loaded", "unknown": "not looked at",
}  # fmt: skip
STUB_LETTERS = {"kernel": "K", "written": "w", "kept": "k", "stale": "S", "free": "·"}
STUB_MEANING = {
    "kernel": "to the kernel's own functions", "written": "made by this step", "kept": "its target is loaded",
    "stale": "stale, to load n", "free": "free",
}  # fmt: skip
_TONES = {"✓": "good", "✗": "bad", "!": "warn", "·": "calm", "?": "calm"}
TONE = {kind: _TONES[symbol] for kind, symbol in SYMBOLS.items()}


def palette(live: bool) -> dict[str, str]:
    """Named colours. Text in a colour is mixed with the foreground, so that it can be read on light and on dark."""
    bg, fg = ("var(--jp-layout-color1,#fff)", "var(--jp-ui-font-color1,#1a1a1a)") if live else ("#ffffff", "#1a1a1a")

    def mix(colour: str, percent: int, other: str) -> str:
        return f"color-mix(in srgb,{colour} {percent}%,{other})" if live else blend(colour, other, percent / 100)

    named = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "verm": VERMILION, "purple": PURPLE, "sky": SKY}
    greys = {"bg": bg, "fg": fg, "soft": mix(fg, 72, bg), "line": mix(fg, 18, bg), "pane": mix(fg, 4, bg)}
    tints = {f"{name}-tint": mix(colour, 17, bg) for name, colour in named.items()}
    inks = {f"{name}-ink": mix(colour, 68, fg) for name, colour in named.items()}
    return {**greys, **named, **tints, **inks}


def blend(colour: str, other: str, share: float) -> str:
    """A share of one colour, the rest of another."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


_SVG_CSS = """
text{{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:{fg}}}
.m{{font-family:ui-monospace,"DejaVu Sans Mono",monospace}}
.ax{{font-size:11.5px;fill:{soft}}}
.soft{{fill:{soft}}}
.b{{font-weight:600}}
.halo{{paint-order:stroke;stroke:{bg};stroke-width:3px;stroke-linejoin:round}}
.grid{{stroke:{line};stroke-width:1}}
.span{{fill:none;stroke:{soft};stroke-width:1;stroke-dasharray:1 3}}
.target{{fill:{blue-tint};stroke:{blue};stroke-width:1.6}}
.patch{{fill:{orange-tint};stroke:{orange};stroke-width:1.6}}
.other{{fill:{purple-tint};stroke:{purple};stroke-width:1.6}}
.ghost{{stroke:{soft};stroke-width:1.4;stroke-dasharray:3 3}}
.tried{{stroke:{verm};stroke-width:2;stroke-dasharray:6 3}}
.unseen{{stroke-dasharray:2 3}}
.now{{fill:{sky-tint};fill-opacity:.5;stroke:{sky};stroke-width:1.2}}
.hatch{{stroke:{soft};stroke-width:1.6;stroke-opacity:.55}}
.written{{stroke:{green};fill:none;stroke-width:2}}
.kept{{stroke:{soft};fill:none;stroke-width:1.4}}
.stale{{stroke:{verm};fill:none;stroke-width:2;stroke-dasharray:5 3}}
.h-written{{fill:{green}}}
.h-kept{{fill:{soft}}}
.h-stale{{fill:{verm}}}
.t-written{{fill:{green-ink}}}
.t-kept{{fill:{soft}}}
.t-stale{{fill:{verm-ink}}}
.good{{fill:{green-ink}}}
.bad,.warn{{fill:{verm-ink}}}
.calm{{fill:{soft}}}
"""
_CSS = """
.kx{{color:{fg};background:{bg};border:1px solid {line};border-radius:8px;
    font:14px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);overflow:hidden;text-align:left}}
.kx .v{{padding:10px 16px;border-bottom:1px solid {line};font-size:15px;min-height:46px}}
.kx .v strong{{font-size:17px;margin-right:2px}}
.kx .note{{display:block;font-size:13px;margin-top:2px;color:{blue-ink}}}
.kx .good strong{{color:{green-ink}}}
.kx .bad strong,.kx .warn strong{{color:{verm-ink}}}
.kx .ask strong{{color:{blue-ink}}}
.kx{{container-type:inline-size}}
.kx .panes{{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1.2fr)}}
.kx .pane{{padding:10px 14px;min-width:0;overflow-x:auto}}
.kx .pane+.pane{{border-left:1px solid {line}}}
.kx .wide{{grid-column:1/-1;border-left:0!important;border-top:1px solid {line};background:{pane}}}
.kx .with-stubs .map{{grid-row:1/3}}
.kx .with-stubs .table{{border-top:1px solid {line}}}
@container (min-width:1500px){{.kx .with-stubs{{grid-template-columns:minmax(0,.9fr) minmax(0,1.2fr) minmax(0,1fr)}}
    .kx .with-stubs .map{{grid-row:auto}} .kx .with-stubs .table{{border-top:0}}}}
@container (max-width:1080px){{.kx .fc{{display:none}} .kx td i{{display:block;text-align:right;line-height:1.1}}
    .kx .with-stubs td i{{display:inline}}}}
@container (max-width:860px){{.kx .panes{{display:flex;flex-direction:column}} .kx .panes>.map{{order:1}} .kx .panes>.wide{{order:2}}
    .kx .panes>.pane{{border-left:0;border-bottom:1px solid {line}}}}}
.kx .sides{{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.kx .side{{min-width:0;display:grid;grid-row:span 5;grid-template-rows:subgrid;grid-template-columns:minmax(0,1fr)}}
.kx .side+.side{{border-left:2px solid {line}}}
.kx .side>h3{{margin:0;padding:6px 16px;font-size:14px;font-weight:600;background:{pane};border-bottom:1px solid {line}}}
.kx .side .v{{font-size:14px;min-height:64px;padding:8px 16px}}
.kx .side .v strong{{font-size:15.5px}}
.kx .side .pane{{border-left:0!important;padding:6px 14px}}
.kx .side .wide{{grid-column:1/-1}}
@container (max-width:1079px){{.kx .sides{{display:block}} .kx .side+.side{{border-left:0;border-top:3px double {soft}}}
    .kx .side{{grid-template-rows:none;grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
    .kx .side .v,.kx .side>h3{{grid-column:1/-1}} .kx .side .sum{{display:none}} .kx .side .v{{min-height:46px}}}}
@container (max-width:700px){{.kx .side{{display:block}}}}
.kx .same{{padding:7px 16px;border-bottom:1px solid {line};font-size:14px}}
.kx .same b{{color:{blue-ink}}}
.kx h4{{margin:0 0 6px;font-size:13px;font-weight:600;color:{soft}}}
.kx code,.kx .dm,.kx .sum{{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;color:inherit;
    background:none;padding:0}}
.kx table{{border-collapse:separate;border-spacing:3px;font-size:12px;margin:0;table-layout:auto}}
.kx th,.kx td{{text-align:left;vertical-align:top;font-weight:400;padding:3px 5px;white-space:nowrap;background:none}}
.kx thead th{{font-weight:600;color:{soft}}}
.kx thead th.cur{{color:{fg};border-bottom:2px solid {sky}}}
.kx tbody tr,.kx thead tr{{background:none!important}}
.kx td{{border:1.5px solid {line};border-radius:3px}}
.kx td code{{font-size:11.5px}}
.kx td i{{font-style:normal;font-size:11px;font-weight:700;margin-left:5px}}
@container (min-width:1320px){{.kx code,.kx td code,.kx .sum,.kx .dm,.kx table{{font-size:13px}}}}
.kx .legend{{display:flex;flex-flow:row wrap;gap:0 14px;margin:4px 0 0;font-size:12px;line-height:1.4;color:{soft}}}
.kx .legend span{{white-space:nowrap}}
.kx small{{color:{soft};font-size:11.5px}}
.kx tr.sel th[scope=row]{{box-shadow:inset 3px 0 0 {blue}}}
.kx tbody th{{padding-left:8px}}
.kx td.file,.kx td.absent,.kx td.unknown{{border-style:dotted;color:{soft}}}
.kx td.written{{border-color:{green};background:{green-tint}}}
.kx td.kept{{border-color:{soft}}}
.kx td.stale{{border:2px dashed {verm};background:{verm-tint}}}
.kx td.cleared{{border:2px double {green};}}
.kx td.foreign{{border:2px dotted {purple};background:{purple-tint}}}
.kx td .op{{color:{soft};font-size:11px;margin-left:6px}}
.kx .asm{{border-spacing:0;font-size:12px}}
.kx .asm td{{border:0;padding:0 12px 0 0;font-family:inherit;white-space:normal;line-height:1.3}}
.kx .asm td:nth-child(-n+2){{white-space:nowrap}}
@container (max-width:860px){{.kx .pane{{padding:8px 10px}} .kx td .op{{display:none}}
    .kx .asm td{{padding-right:8px}} .kx .sum{{padding:6px 8px}}}}
.kx .strip,.kx .strip .end{{display:flex;flex-wrap:wrap;align-items:center;gap:2px;margin:0 0 6px}}
.kx .strip .end{{flex-wrap:nowrap;margin:0}}
.kx .strip b{{width:17px;height:19px;font-size:11px;line-height:19px;text-align:center;border-radius:2px;font-weight:600;
    border:1px solid {line};box-sizing:content-box}}
.kx .strip .bar{{width:3px;height:27px;background:{fg};margin:0 3px}}
.kx .stubs{{border:2px solid {soft};border-radius:4px;display:inline-block;max-width:100%;overflow-x:auto}}
.kx .stubs table,.kx .past table{{border-spacing:2px;font-size:12px}}
.kx .stubs td,.kx .stubs th,.kx .past td,.kx .past th{{padding:1px 6px}}
.kx .stubs td.calls,.kx .past td.calls,.kx td.fold{{border:0;color:{soft}}}
.kx .past{{margin:5px 0 0;padding:2px 0 2px 8px;border-left:3px dashed {verm}}}
.kx .past p{{margin:0;font-size:12px;font-weight:600;color:{verm-ink}}}
.kx .s-kernel{{color:{soft}}}
.kx .s-same{{border-color:transparent!important;color:{soft}}}
.kx .asm code,.kx .sum code{{white-space:nowrap}}
.kx .s-free,.kx .s-unknown{{border-style:dotted!important;color:{soft}}}
.kx .s-written{{border-color:{green}!important;background:{green-tint}}}
.kx .s-kept{{border-color:{soft}!important}}
.kx .s-stale{{border:1.5px dashed {verm}!important;
    background:repeating-linear-gradient(45deg,{verm-tint} 0 5px,transparent 5px 9px)}}
.kx .sum{{margin:8px 0 6px;padding:7px 10px;background:{pane};border-radius:5px;line-height:1.6;overflow-wrap:anywhere}}
.kx .sum em{{font-style:normal;color:{soft};font-family:var(--jp-ui-font-family,system-ui,sans-serif)}}
.kx .dm{{line-height:1.5}}
.kx .dm div{{padding-left:20px;text-indent:-20px;overflow-wrap:anywhere;white-space:pre-wrap}}
.kx .dm .old{{color:{soft}}}
.kx .dm .cur{{font-weight:600}}
.kx svg{{display:block;max-width:470px}}
"""


def style(live: bool) -> str:
    """The <style> element: of a live page, or of an SVG that stands alone."""
    colours = palette(live)
    svg = _SVG_CSS.format_map(colours)
    if not live:
        return f"<style>{svg}</style>"
    scoped = "}".join(_scope(rule) for rule in svg.strip().split("}"))
    return f"<style>{_CSS.format_map(colours)}{scoped}</style>".replace("\n", "")


def _scope(rule: str) -> str:
    """Put one CSS rule under .kx svg, so that it touches nothing else on the page."""
    if "{" not in rule:
        return rule
    selector, _, body = rule.partition("{")
    return ",".join(f".kx svg {one.strip()}" for one in selector.split(",")) + "{" + body


assert set(LETTERS) == set(MEANING) and set(STUB_LETTERS) == set(STUB_MEANING)
