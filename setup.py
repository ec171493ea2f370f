"""A wheel carries the course: data/ and notebooks/ are copied into the package when it is built, and stand in git once.

Plain files: all of it is 2 MB in a wheel, and a recording can be opened by its path. See klpteach/files/samples.py.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("data", "notebooks")
NOT_OURS = {"__pycache__", ".ipynb_checkpoints"}


def carried() -> list[Path]:
    files = (path for folder in CARRIED for path in sorted(Path(folder).rglob("*")))
    return [path for path in files if path.is_file() and not NOT_OURS & set(path.parts)]


class WithTheCourse(build_py):
    """build_py, and the course. An editable install finds both folders where they are."""

    def run(self) -> None:
        super().run()
        if not getattr(self, "editable_mode", False):
            for path in carried():
                target = Path(self.build_lib, "klpteach", path)
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        ours = (
            []
            if getattr(self, "editable_mode", False)
            else [str(Path(self.build_lib, "klpteach", p)) for p in carried()]
        )
        return [*super().get_outputs(include_bytecode), *ours]


setup(cmdclass={"build_py": WithTheCourse})
