"""Questions about the outputs on a page: accessibility by axe-core, and the course's own rules in checks.js."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
AXE = HERE.parents[1] / "build" / "npm" / "node_modules" / "axe-core" / "axe.min.js"
OUTPUTS = ".jp-Cell-outputArea"
AXE_RUN = """([root, rules]) => axe.run([...document.querySelectorAll(root)].filter(one => one.childElementCount), {
  preload: false, resultTypes: ['violations'], rules: Object.fromEntries(rules.map(rule => [rule, {enabled: false}]))})
  .then(found => found.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 200)}: ${node.failureSummary.replace(/\\s+/g, ' ')}`)))"""
# Rules about a page as a whole, which is JupyterLab's; and pandas leaves the corner of a table empty.
NOT_ASKED = ["region", "landmark-one-main", "page-has-heading-one", "bypass", "heading-order", "empty-table-header"]
# The handle of a slider is ipywidgets' own: Python cannot name it. Back and Next, which have names, do the same.
SLIDER = re.compile(r'aria-input-field-name: <div class="noUi-handle ')


def violations(page: Any, root: str = OUTPUTS) -> list[str]:
    """What axe-core finds wrong below root; skips where axe-core is not there."""
    if not AXE.exists():
        pytest.skip("axe-core is missing (npm). Try: make test-browser")
    page.evaluate(AXE.read_text())
    return [found for found in page.evaluate(AXE_RUN, [root, NOT_ASKED]) if not SLIDER.match(found)]


def ask(page: Any, question: str, root: str = OUTPUTS, *more: Any) -> list[str]:
    """One of the questions of checks.js."""
    page.evaluate((HERE / "checks.js").read_text())
    return list(page.evaluate(f"arguments => window.checks.{question}(...arguments)", [root, *more]))
