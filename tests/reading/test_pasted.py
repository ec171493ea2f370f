"""Every way to paste the three lines of 2019 gives the three lines; and any other text is read in time that grows with it only."""

import pytest
from conftest import NO_KO
from pasting import STYLES

from klpteach.reading.log.explain import explain

LINES = (
    "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, "
    "loc 000000001d522ef0, val ffffffffc14531a9",
    "livepatch: failed to initialize patch 'livepatch_nfsd' for module 'nfsd' (-8)",
    "livepatch: patch 'livepatch_nfsd' failed for module 'nfsd', refusing to load module 'nfsd'",
)
NAMES = ["NONZERO_SKIPPING", "INIT_FAILED", "REFUSING"]


@pytest.mark.parametrize("style", STYLES)
def test_the_three_lines_of_2019_are_read_however_they_are_pasted(style):
    found = explain(STYLES[style](LINES), NO_KO)
    assert [one.message for one in found] == NAMES
    fields = found[0].fields | found[1].fields | found[2].fields
    assert (fields["type"], fields["val"].removeprefix("0x"), fields["err"]) == ("2", "ffffffffc14531a9", "-8")
    assert (fields["patch"], fields["module"]) == ("livepatch_nfsd", "nfsd")
