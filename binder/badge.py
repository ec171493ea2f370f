"""Put the account that holds the repository into README's Binder badge: make badge OWNER=name [REPO=name] [BRANCH=tag]."""

import re
import sys
from pathlib import Path
from urllib.parse import quote

ADDRESS = re.compile(r"(mybinder\.org/v2/gh)/([^/]+)/([^/]+)/([^?]+)(\?)")
NAMES = {"OWNER": r"[A-Za-z0-9][A-Za-z0-9-]*", "REPO": r"[\w.-]+", "BRANCH": r"[\w.][\w./+-]*"}


def badge(readme: str, **given: str) -> str:
    """README with another address in its badge; what is not given stays. Errors: SystemExit with one line."""
    for name, value in given.items():
        if value and not re.fullmatch(NAMES[name], value):
            raise SystemExit(f"{name}={value} is no name on GitHub. Try: make badge OWNER=account")
    if not given.get("OWNER"):
        raise SystemExit("Whose repository is it? Try: make badge OWNER=account")
    found = ADDRESS.search(readme)
    if not found:
        raise SystemExit("README.md has no Binder badge any more.")
    host, *known, mark = found.groups()
    parts = [quote(new, safe="") or old for new, old in zip(given.values(), known, strict=True)]
    return ADDRESS.sub(lambda _: "/".join([host, *parts]) + mark, readme)


if __name__ == "__main__":
    path = Path(__file__).resolve().parents[1] / "README.md"
    text = badge(path.read_text(encoding="utf-8"), **dict(zip(NAMES, [*sys.argv[1:], "", "", ""][:3], strict=True)))
    path.write_text(text, encoding="utf-8")
    print(next(line for line in text.splitlines() if ADDRESS.search(line)))
