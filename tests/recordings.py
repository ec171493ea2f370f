"""The recordings of real kernels that the tests hold everything against."""

from functools import cache
from pathlib import Path

from klpteach.model.recording import Recording
from klpteach.reading.history import History
from klpteach.reading.loads import module_files

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = ROOT / "data" / "recordings"
REAL = [*sorted(RECORDINGS.glob("*/*.json")), *sorted((ROOT.parent / "shared" / "recordings").glob("*/*.json"))]
PPC64LE = [path for path in REAL if path.parent.name == "ppc64le"]


def real(name: str | Path) -> History:
    """A recording of a real kernel with the module files that it was made with."""
    path = RECORDINGS / name
    recording = Recording.load(path)
    folder = f"{recording.arch}-{recording.release}"
    own = module_files(recording, path.parents[1] / "ko" / folder)
    return History(recording, own or module_files(recording, ROOT / "data" / "ko" / folder))


@cache
def all_real(arch: str = "*") -> dict[str, History]:
    """Every real recording with its module files, by its path; to be read only, since all tests share them."""
    return {str(path): real(path) for path in REAL if arch in ("*", path.parent.name)}


@cache
def all_without_files(arch: str = "*") -> dict[str, History]:
    """The same as far as the recording alone tells."""
    return {str(path): History(Recording.load(path), {}) for path in REAL if arch in ("*", path.parent.name)}
