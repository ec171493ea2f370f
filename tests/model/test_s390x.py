"""s390x in the model: transcripts of real kernels, then what their code says, then properties."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from s390x_transcripts import Transcript

SHARED = ROOT.parent / "shared" / "s390x"
TRANSCRIPTS = sorted((SHARED / "transcripts").glob("*.json")) or [
    pytest.param(None, marks=pytest.mark.skip(reason="no transcripts in ../shared/s390x"))
]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem if path else "none")
def test_a_transcript_of_a_real_kernel_plays_without_a_difference(path: Path) -> None:
    assert list(Transcript(path, SHARED / "ko").differences()) == []
