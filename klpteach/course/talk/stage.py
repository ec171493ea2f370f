"""How a slide of the talk looks: large type that grows with the projector, one slide as high as the screen."""

from __future__ import annotations

from html import escape

# From so many pixels on, everything is so much larger: words by the width, the explorer by the height: it must fit.
WIDTHS = ((1500, 1.15), (1800, 1.35), (2400, 1.8), (3600, 2.6))
HEIGHTS = ((0, 0.75), (800, 0.85), (900, 0.95), (1000, 1.1), (1200, 1.3), (1400, 1.5), (2000, 2.2))

_CSS = """
.klp-slide{--z:1;zoom:var(--z);min-height:calc(100vh/var(--z) - 24px);box-sizing:border-box;padding:6px 18px 0;
    overflow:auto;border-top:3px solid #0072B2}
.klp-slide.klp-opening{min-height:calc(86vh/var(--z))}
.klp-slide.klp-live{height:calc(100vh/var(--z) - 8px)}
.klp-live>.klp-picture{flex:1 1 0;min-height:380px}
.klp-live .kx .dm .old{display:none}
.klp-slide .klp-head h2{font-size:30px;line-height:1.2;margin:0 0 2px;font-weight:650}
.klp-slide .klp-head p{font-size:20px;line-height:1.3;margin:0 0 4px}
.klp-slide .klp-head small{font-size:14px}
.klp-slide .widget-hbox,.klp-slide .widget-checkbox,.klp-slide .widget-dropdown{overflow:visible}
.klp-slide .klp-words{font-size:22px;line-height:1.5;max-width:54em}
.klp-slide .klp-words pre{font-size:17px;line-height:1.5;white-space:pre-wrap;overflow-wrap:anywhere}
.klp-slide .klp-words li{margin:6px 0}
.klp-slide .klp-words table{font-size:20px;border-collapse:collapse}
.klp-slide .klp-words th,.klp-slide .klp-words td{padding:7px 16px;text-align:left;border-bottom:1px solid rgba(127,127,127,.4)}
.klp-slide .klp-words img{max-width:100%;max-height:calc(100vh/var(--z) - 230px);background:#fff}
.klp-slide button,.klp-slide select,.klp-slide label,.klp-slide .widget-label{font-size:18px}
.klp-slide button{height:38px;line-height:34px;margin-right:8px}
.klp-slide .klp-choice{background:none;border:1px solid rgba(127,127,127,.6);text-align:left}
.klp-slide .widget-checkbox,.klp-slide .widget-dropdown{margin-left:14px}
.klp-vote .klp-choice{font-size:22px;height:46px;line-height:42px;margin-bottom:4px}
.klp-slide button,.klp-slide input{scroll-margin:112px 0 calc(100vh/var(--z) - 165px)}
.klp-vote button{scroll-margin:240px 0 calc(100vh/var(--z) - 300px)}
.klp-opening button{scroll-margin:0}
.klp-slide :focus-visible,.klp-slide button:focus{outline:4px solid #D55E00!important;
    outline-offset:2px!important;box-shadow:none!important}
"""


def stage_style() -> str:
    """The <style> of the talk. In a saved notebook that nobody trusts it is dropped, and nothing is lost but size."""
    words = "".join(f"@media(min-width:{width}px){{.klp-slide{{--z:{zoom}}}}}" for width, zoom in WIDTHS)
    live = "".join(f"@media(min-height:{height}px){{.klp-slide.klp-live{{--z:{zoom}}}}}" for height, zoom in HEIGHTS)
    return f"<style>{_CSS}{words}{live}</style>".replace("\n", "")


def head_html(title: str, text: str, place: str) -> str:
    """The words at the top of a slide: its idea in one line, a sentence, and where in the talk it stands.

    >>> head_html("A < B", "", "1 of 12")
    '<div class="klp-head"><small>1 of 12</small><h2>A &lt; B</h2></div>'
    """
    said = f"<p>{escape(text)}</p>" if text else ""
    return f'<div class="klp-head"><small>{escape(place)}</small><h2>{escape(title)}</h2>{said}</div>'
