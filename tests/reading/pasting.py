"""Ways in which people paste lines of a kernel's log: each makes a text, or bytes, of the bare lines."""

from __future__ import annotations

import html
import json
import quopri
import textwrap
from collections.abc import Callable, Sequence

Lines = Sequence[str]
Style = Callable[[Lines], "str | bytes"]
CLOCK = "26.398877"


def before(prefix: str) -> Style:
    return lambda lines: "\n".join(prefix + line for line in lines)


def around(before: str, after: str) -> Style:
    return lambda lines: "\n".join(before + line + after for line in lines)


def dmesg(lines: Lines) -> str:
    return "\n".join(f"[   {CLOCK}] {line}" for line in lines)


def of_dmesg(change: Callable[[str], str | bytes]) -> Style:
    return lambda lines: change(dmesg(lines))


def coloured(line: str) -> str:
    subsystem, _, rest = line.partition(": ")
    return f"\x1b[32m[   {CLOCK}] \x1b[0m\x1b[33m{subsystem}: \x1b[0m{rest}"


def hard(width: int, indent: str = "") -> Callable[[str], str]:
    """A terminal's edge: exactly so many characters a line."""

    def wrap(text: str) -> str:
        out = []
        for line in text.splitlines():
            out.append(line[:width])
            rest = line[width:]
            while rest:
                out.append(indent + rest[: width - len(indent)])
                rest = rest[width - len(indent) :]
        return "\n".join(out)

    return wrap


def soft(width: int, indent: str = "", first: str = "") -> Callable[[str], str]:
    """A mail program: at blanks."""
    return lambda text: "\n".join(
        textwrap.fill(line, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)
        for line in text.splitlines()
    )


def quoted_printable(text: str) -> str:
    return hard(75)(text).replace("\n", "=\n").replace("=\n[", "\n[")


def as_mail(text: str) -> str:
    """Quoted-printable as Python's library makes it."""
    return quopri.encodestring(text.encode()).decode()


def typographic(text: str) -> str:
    return text.replace(" '", " \u2018").replace("'", "\u2019")


STYLES: dict[str, Style] = {
    "plain": before(""),
    "dmesg": dmesg,
    "dmesg, early": before("[    0.000000] "),
    "dmesg, late": before("[1234567.890123] "),
    "dmesg, printk_caller": before(f"[   {CLOCK}] [T123] "),
    "dmesg, printk_caller spaced": before(f"[   {CLOCK}][    T123] "),
    "dmesg, processor": before(f"[   {CLOCK}][    C0] "),
    "dmesg -T": before("[Thu Nov 26 11:12:13 2026] "),
    "dmesg -T, German": before("[Do Nov 26 11:12:13 2026] "),
    "dmesg -T, Japanese": before("[木 11月 26 11:12:13 2026] "),
    "dmesg iso": before("2026-11-26T11:12:13,123456+01:00 "),
    "dmesg -d": before("[<    0.000012>] "),
    "dmesg -d with both": before(f"[   {CLOCK} <    0.000012>] "),
    "dmesg -e": before("[Nov26 11:12] "),
    "dmesg -e, delta": before("[  +0.000012] "),
    "dmesg -x": before(f"kern  :err   : [   {CLOCK}] "),
    "dmesg -r": before(f"<3>[   {CLOCK}] "),
    "dmesg -r, caller": before(f"<3>[   {CLOCK}] [T5] "),
    "dmesg --color=always": lambda lines: "\n".join(coloured(line) for line in lines),
    "colours through cat -v": lambda lines: "\n".join(coloured(line).replace("\x1b", "^[") for line in lines),
    "colour at the end": around(f"[   {CLOCK}] ", "\x1b[0m\x1b[K"),
    "syslog": before("Nov 26 11:12:13 myhost kernel: "),
    "syslog with clock": before(f"Nov 26 11:12:13 myhost kernel: [   {CLOCK}] "),
    "syslog, one digit": before(f"Nov  6 11:12:13 myhost kernel: [   {CLOCK}] "),
    "syslog tag": before("<3>Nov 26 11:12:13 myhost kernel: "),
    "rsyslog RFC 5424": before("<3>1 2026-11-26T11:12:13.123456+01:00 myhost kernel - - - "),
    "rsyslog, Debian 12": before("2026-11-26T11:12:13.123456+01:00 myhost kernel: "),
    "rsyslog, Debian 12 with clock": before(f"2026-11-26T11:12:13.123456+01:00 myhost kernel: [   {CLOCK}] "),
    "busybox syslogd": before(f"Nov 26 11:12:13 myhost kern.err kernel: [   {CLOCK}] "),
    "OpenWrt logread": before(f"Thu Nov 26 11:12:13 2026 kern.err kernel: [   {CLOCK}] "),
    "journalctl": before("Nov 26 11:12:13 myhost kernel: "),
    "journalctl, German": before("Nov 26 11:12:13 rechner kernel: "),
    "journalctl, French": before("nov. 26 11:12:13 machine kernel: "),
    "journalctl, Chinese": before("11月 26 11:12:13 myhost kernel: "),
    "journalctl, Russian": before("ноя 26 11:12:13 myhost kernel: "),
    "journalctl -o short-iso": before("2026-11-26T11:12:13+0100 myhost kernel: "),
    "journalctl -o short-precise": before("Nov 26 11:12:13.123456 myhost kernel: "),
    "journalctl -o short-monotonic": before(f"[   {CLOCK}] myhost kernel: "),
    "journalctl -o short-full": before("Thu 2026-11-26 11:12:13 CET myhost kernel: "),
    "journalctl -o short-unix": before("1795687933.123456 myhost kernel: "),
    "journalctl -o with-unit": before("Thu 2026-11-26 11:12:13 CET myhost [unit] kernel: "),
    "journalctl -o cat": before(""),
    "journalctl -o json": lambda lines: "\n".join(
        json.dumps({"_HOSTNAME": "myhost", "MESSAGE": line, "PRIORITY": "3"}) for line in lines
    ),
    "kernel: only": before("kernel: "),
    "serial console": before(f"2026-11-26 11:12:13 [   {CLOCK}] "),
    "virsh console": lambda lines: "\r\r\n".join(f"[   {CLOCK}] {line}" for line in lines),
    "Xen console": before(f"(XEN) d0v0 [   {CLOCK}] "),
    "hvc log": before(f"[2026-11-26 11:12:13] [   {CLOCK}] "),
    "pstore": before(f"<3>[   {CLOCK}] "),
    "pstore, level 6": before(f"<6>6,1234,{CLOCK.replace('.', '')},-;"),
    "/dev/kmsg": before("3,1234,26398877,-;"),
    "/dev/kmsg with caller": before("3,1234,26398877,-,caller=T123;"),
    "netconsole": before(f"[   {CLOCK}] "),
    "netconsole, extended": before("3,1234,26398877,-,ncfrag=0/200;"),
    "crash log": before(f"[   {CLOCK}] "),
    "mail": of_dmesg(lambda text: "\n".join("> " + line for line in text.splitlines())),
    "mail, bare lines": before("> "),
    "mail, three deep": before(f"> > > [   {CLOCK}] "),
    "mail, seven deep": before(f">>>>>>> [   {CLOCK}] "),
    "mail, >>": before(">> "),
    "mail, bars": before("| "),
    "mail, indented": before(">     "),
    "mail, tab": before(">\t"),
    "mail, initials": before("JP> "),
    "tab": before("\t"),
    "Markdown, code": before("    "),
    "Markdown, list": before("- "),
    "Markdown, numbered": before("1. "),
    "Markdown, backticks": around("`", "`"),
    "Markdown, list with backticks": around("* `", "`"),
    "Markdown, bold": around("**", "**"),
    "Markdown, escaped": lambda lines: "\n".join(line.replace("_", "\\_") for line in lines),
    "Markdown, table": around("| ", " |"),
    "HTML": of_dmesg(lambda text: "\n".join("&gt; " + html.escape(line) for line in text.splitlines())),
    "HTML, twice": of_dmesg(lambda text: html.escape(html.escape(text))),
    "HTML, three times": of_dmesg(lambda text: html.escape(html.escape(html.escape(text)))),
    "HTML, tags": around("<p><code>", "</code><br/></p>"),
    "HTML, &nbsp;": lambda lines: "\n".join(line.replace(" ", "&nbsp;") for line in lines),
    "HTML, numbers": lambda lines: "\n".join(html.escape(line).replace("&#x27;", "&#39;") for line in lines),
    "in quotes": around('"', '",'),
    "diff": before("+"),
    "docker": before("2026-11-26T10:12:13.123456789Z stderr F "),
    "docker json": lambda lines: "\n".join(json.dumps({"log": line + "\n", "stream": "stderr"}) for line in lines),
    "k8s pod": before("[pod/node-agent-abcde/agent] "),
    "compose": before(f"node_1  | [   {CLOCK}] "),
    "grep": before(f"/var/log/kern.log:Nov 26 11:12:13 myhost kernel: [   {CLOCK}] "),
    "grep -n": before(f"/var/log/kern.log.1:1234:Nov 26 11:12:13 myhost kernel: [   {CLOCK}] "),
    "grep -C": before(f"kern.log-1233-[   {CLOCK}] "),
    "ansible": around('        "', '",'),
    "nagios": before("CRITICAL - dmesg: "),
    "CRLF": lambda lines: "\r\n".join(lines),
    "CR only": lambda lines: "\r".join(f"[   {CLOCK}] {line}" for line in lines),
    "trailing blanks": around("", "   "),
    "all in one line": of_dmesg(lambda text: text.replace("\n", " ")),
    "all in one line, bare": lambda lines: " ".join(lines),
    "\\n written out": lambda lines: "\\n".join(lines),
    "rsyslog #012": lambda lines: "#012".join(lines),
    "lower case": lambda lines: "\n".join(lines).lower(),
    "blanks doubled": lambda lines: "\n".join(line.replace(" ", "  ") for line in lines),
    "non-breaking blanks": lambda lines: "\n".join(line.replace(" ", "\u00a0") for line in lines),
    "narrow blanks": lambda lines: "\n".join(line.replace(" ", "\u202f") for line in lines),
    "zero-width": lambda lines: "\n".join("\u200b" + line.replace("_", "_\u200b") for line in lines),
    "typographic quotes": lambda lines: typographic("\n".join(lines)),
    "typographic quotes and dash": lambda lines: typographic("\n".join(lines)).replace("(-", "(\u2212"),
    "full-width signs": lambda lines: "\n".join(lines).translate({ord(sign): ord(sign) + 0xFEE0 for sign in ":,'()_"}),
    "full-width letters": lambda lines: "\n".join(
        line.translate({code: code + 0xFEE0 for code in range(33, 127)}) for line in lines
    ),
    "byte order mark": lambda lines: b"\xef\xbb\xbf" + "\n".join(lines).encode(),
    "UTF-16": lambda lines: "\r\n".join(lines).encode("utf-16"),
    "UTF-16 big-endian": lambda lines: "\n".join(lines).encode("utf-16-be"),
    "UTF-16 little-endian": lambda lines: "\n".join(lines).encode("utf-16-le"),
    "UTF-32": lambda lines: "\r\n".join(lines).encode("utf-32"),
    "UTF-32 big-endian": lambda lines: "\n".join(lines).encode("utf-32-be"),
    "UTF-32 little-endian": lambda lines: "\n".join(lines).encode("utf-32-le"),
    "UTF-32 big-endian with its mark": lambda lines: b"\x00\x00\xfe\xff" + "\n".join(lines).encode("utf-32-be"),
    "Latin-1 around": lambda lines: "\n".join("Zuf\xe4llig: " + line for line in lines).encode("latin-1"),
    "zeros between": lambda lines: "\x00\n".join(lines).encode(),
    "wrapped at 72": of_dmesg(soft(72)),
    "wrapped at 76": of_dmesg(soft(76)),
    "wrapped at 80 by the terminal": of_dmesg(hard(80)),
    "wrapped at 72 by the terminal": of_dmesg(hard(72)),
    "wrapped at 100 by the terminal": of_dmesg(hard(100)),
    "wrapped, hanging indent": of_dmesg(soft(72, "               ")),
    "less, hanging indent": of_dmesg(hard(80, "        ")),
    "wrapped in a mail": of_dmesg(soft(72, "> ", "> ")),
    "wrapped in a mail, first line only quoted": of_dmesg(soft(72, "", "> ")),
    "wrapped syslog": lambda lines: soft(76)(
        "\n".join(f"Nov 26 11:12:13 myhost kernel: [   {CLOCK}] {x}" for x in lines)
    ),
    "quoted-printable": of_dmesg(quoted_printable),
    "quoted-printable, typographic quotes": lambda lines: as_mail(typographic("\n".join(lines))),
    "quoted-printable, CRLF": lambda lines: as_mail(dmesg(lines)).replace("\n", "\r\n"),
    "quoted-printable, short lines behind their header": lambda lines: (
        "Content-Transfer-Encoding: quoted-printable\n\n"
        + as_mail("a =\n" + dmesg(lines)).replace("x86/modules", "x86=\n/modules")
    ),
    "loc with 0x": lambda lines: "\n".join(line.replace("loc ", "loc 0x") for line in lines),
    "val with 0x": lambda lines: "\n".join(line.replace("val ", "val 0x") for line in lines),
}
