"""Questions about the slide that is on the screen: how small its text is, what leaves it, how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SCREEN = {"width": 1920, "height": 1080}
SHOWN = "document.querySelector('.klp-slide.klp-shown')"
# The smallest text in px of the screen, SVG and zoom counted in, and the words of it.
SMALLEST = """root => {
  let least = [999, ''];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, parent = text.parentElement, range = document.createRange();
    if (!text.data.trim() || !parent.checkVisibility({checkVisibilityCSS: true, checkOpacity: true}) || parent.closest('style,script,title')) continue;
    range.selectNodeContents(text);
    if (range.getBoundingClientRect().width < 2) continue;
    const scale = parent.closest('svg') ? parent.getScreenCTM().a : parent.currentCSSZoom ?? 1;
    const size = Math.round(parseFloat(getComputedStyle(parent).fontSize) * scale * 10) / 10;
    if (size < least[0]) least = [size, text.data.trim().slice(0, 40)];
  }
  return least;
}"""
OUTSIDE = """root => {
  const frame = root.getBoundingClientRect(), main = root.querySelector('.klp-main');
  const lost = [...root.querySelectorAll('*')].filter(one => !one.closest('svg') && one.checkVisibility({checkVisibilityCSS: true}))
    .filter(one => { const box = one.getBoundingClientRect(); return box.width && (box.right > frame.right + 2 || box.bottom > frame.bottom + 2 || box.left < frame.left - 2); })
    .map(one => `${one.tagName}.${one.className}`);
  if (frame.width > innerWidth + 1 || frame.height > innerHeight + 1) lost.push('the slide');
  if (main && main.scrollHeight > main.clientHeight + 4) lost.push(`the picture: ${main.scrollHeight} of ${main.clientHeight}`);
  return lost.slice(0, 4);
}"""
WHERE = f"""() => {{
  const slide = {SHOWN}, steps = [...slide.querySelectorAll('.klp-step')];
  return {{title: slide.querySelector('h1,h2').textContent, step: steps.findIndex(one => one.matches('.klp-now')), steps: steps.length,
    verdict: [...slide.querySelectorAll('.sg-v')].filter(one => one.checkVisibility()).map(one => one.textContent).join(' '),
    place: slide.querySelector('.klp-head small')?.textContent ?? '', hash: location.hash, on: document.activeElement.textContent.trim()}};
}}"""
# What a slide looks like, by the parts that both pages have.
LOOK = f"""parts => Object.fromEntries(parts.map(part => {{
  const one = [...{SHOWN}.querySelectorAll(part)].find(one => one.checkVisibility()), style = one && getComputedStyle(one);
  const wanted = ['fontSize', 'fontFamily', 'fontWeight', 'lineHeight', 'textAlign', 'color', 'backgroundColor', 'borderBottomStyle', 'borderBottomWidth', 'whiteSpace', 'wordBreak'];
  return [part, style && Object.fromEntries(wanted.map(name => [name, style[name]]))];
}}))"""


# The address follows the slide, a moment later.
SETTLED = f"""() => {{
  const steps = [...{SHOWN}?.querySelectorAll('.klp-step') ?? []], step = Number(location.hash.split('/')[3] ?? 0);
  return !steps.length || steps.findIndex(one => one.matches('.klp-now')) === step;
}}"""


def where(page: Any) -> dict[str, Any]:
    return dict(page.evaluate(WHERE))


def ready(page: Any) -> None:
    """Wait until a slide is on the screen and the address says which."""
    page.wait_for_function(f"() => {SHOWN} && location.hash.length > 2", timeout=300_000)


def press(page: Any, *keys: str) -> dict[str, Any]:
    """Press keys; after each wait until the address is another one: slide, step, choice or comparison have changed."""
    for key in keys:
        page.wait_for_function(SETTLED, timeout=60_000)
        before = page.evaluate("() => location.hash")
        page.keyboard.press(key)
        page.wait_for_function("before => location.hash !== before", arg=before, timeout=60_000)
        page.wait_for_function(SETTLED, timeout=60_000)
    return where(page)


def walk(page: Any, key: str = "ArrowRight") -> Iterator[dict[str, Any]]:
    """Every state from here to the end of the talk, key by key."""
    for _ in range(200):
        yield where(page)
        if page.evaluate(f"() => {SHOWN}.matches('.klp-closing')"):
            return
        press(page, key)
    raise AssertionError("the talk does not end")


def smallest(page: Any) -> tuple[float, str]:
    size, words = page.locator(".klp-slide.klp-shown").evaluate(SMALLEST)
    return float(size), str(words)


def outside(page: Any) -> list[str]:
    return list(page.locator(".klp-slide.klp-shown").evaluate(OUTSIDE))
