"""Stories with livepatches that the real tools made: kpatch-build's, and klp-build's objtool. They exist to be recorded."""

from __future__ import annotations

from collections.abc import Iterator

from .scenario import GONE, PATCH, TARGET, Scenario, disable

ACL, ACL_GONE = "insmod acl_demo.ko", "rmmod acl_demo"


def by_tools() -> Iterator[Scenario]:
    """Six stories with the livepatches of each tool."""
    for form, tool in {"kpatch": "kpatch-build", "klp_build": "klp-build"}.items():
        yield from _of_form(form, tool)


# fmt: off
def _of_form(form: str, tool: str) -> Iterator[Scenario]:
    name, patch, two = form.replace("_", "-"), f"livepatch_{form}", f"livepatch_{form}_two"
    load, load_two = f"insmod {patch}.ko", f"insmod {two}.ko"
    yield Scenario(f"{name}-reload", f"remove and reload, {tool}'s livepatch",
                   "A patched module is removed and loaded again. Does it load?",
                   (TARGET, load, GONE, TARGET, disable(patch), f"rmmod {patch}"))
    yield Scenario(f"{name}-moved", f"reload at another address, {tool}'s livepatch",
                   "Another module takes the freed place. Does a new address help?",
                   (TARGET, load, GONE, "insmod lockd_demo.ko", TARGET))
    yield Scenario(f"{name}-init-fails", f"init() fails, then a good load, {tool}'s livepatch",
                   "Nobody removed anything: the first load failed by itself. Does the next one work?",
                   (load, "insmod nfsd_demo_failinit.ko", TARGET), {"nfsd_demo_failinit.ko": -19})
    yield Scenario(f"{name}-two", f"one module's livepatch uses another's export, {tool}'s",
                   "A module is reloaded whose livepatch calls a function of another module, which has stayed. Does it load?",
                   (TARGET, ACL, load_two, ACL_GONE, ACL, disable(two), f"rmmod {two}"))
    yield Scenario(f"{name}-two-late", f"both modules come later, {tool}'s livepatch for two",
                   "Both were patched and both have gone. Which of the two comes back?",
                   (load_two, TARGET, ACL, ACL_GONE, GONE, TARGET, ACL))
    yield Scenario(f"{name}-replaces", f"{tool}'s livepatch over another",
                   "Both tools make cumulative livepatches. What becomes of the one before?",
                   (TARGET, PATCH, load, "rmmod livepatch_nfsd_demo", load_two, f"rmmod {patch}", GONE, TARGET))
# fmt: on
