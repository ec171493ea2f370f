"""The version of the package, as in pyproject.toml, CHANGELOG.md and CITATION.cff."""

__version__ = "0.1.0"
