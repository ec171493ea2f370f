"""What klpteach.reading.log says of ppc64le lines: every line comes from a recording of a real kernel."""

import re

from conftest import NO_KO
from recordings import PPC64LE, RECORDINGS

from klpteach.model import messages
from klpteach.model.recording import Recording
from klpteach.reading.log.explain import explain

KNOWN = re.compile(r"^(module_64: |livepatch: |WARNING: .*stub_for_addr|BUG: )")


def test_every_line_of_a_real_ppc64le_kernel_about_modules_is_known():
    for path in PPC64LE:
        for step in Recording.load(path):
            wanted = [line for line in step.lines if KNOWN.match(line)]
            found = [found.line for found in explain("\n".join(wanted), ko=NO_KO)]
            assert found == [line.rstrip() for line in wanted], path.name


def test_the_line_about_the_nop_names_the_relocation_of_the_real_call():
    step = Recording.load(RECORDINGS / "ppc64le/reload--6.1-stock--REFUSED.json")[3]
    said = " ".join(explain("\n".join(step.lines), RECORDINGS.parent / "ko" / "ppc64le-6.1")[0].says)
    assert "livepatch_nfsd_demo.ko: .text+0xb0 → .klp.sym.nfsd_demo.demo_dup,2" in said
    assert "lp_demo_show+0x68" in said and "tolerate-r2" in said


def test_a_word_that_no_kernel_wrote_is_told_from_the_restore():
    line = Recording.load(RECORDINGS / "ppc64le/no-nop--6.1-stock--REFUSED.json")[1].lines
    said = " ".join(next(e for e in explain("\n".join(line), NO_KO) if e.message == "EXPECTED_NOP").says)
    assert "38600001 is not the restore either" in said and "tolerate-r2" not in said


def test_the_relocations_behind_an_x86_line_are_of_x86_files():
    line = messages.NONZERO(type=10, loc=messages.Pointer(1), val=2).render()
    assert "REL24" not in " ".join(explain(line)[0].says)
    for says in explain(line):
        assert "ppc64le" not in " ".join(says.says)


def test_no_field_of_a_message_is_left_out_of_a_sentence():
    """Every sentence can be filled from the fields that its own message has."""
    for name, message in messages.ALL.items():
        fields = re.findall(r"\{(\w+)", message.format)
        line = re.sub(r"\{(\w+)[^}]*\}", lambda m: {"err": "-2", "insn": "e8410018"}.get(m[1], "1"), message.format)
        for found in explain(line, NO_KO):
            assert not any("{" in sentence for sentence in found.says), (name, fields)


def test_a_blacklisted_module_is_said_to_be_so_by_the_kernels_command_line():
    """load_module() prints it for module_blacklist= only; modprobe says nothing of what modprobe.d blacklists."""
    (found,) = explain(messages.BLACKLISTED(module="lockd_demo").render())
    assert "module_blacklist=" in found.says[0] and "modprobe" not in found.says[0]
