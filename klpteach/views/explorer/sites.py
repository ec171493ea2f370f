"""The table of relocation sites over time, and the sum of one site spelled out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...files.klp import parse_symbol
from ...model.errno import EAGAIN
from ...model.step import hexa
from ...reading.calls import is_call, words_of
from ...reading.history import History
from ...reading.sites import State
from ...reading.steps import count, patch_of
from ...reading.sums import Sum
from ..shown import escape
from ..style import LETTERS, MEANING
from .instructions import call_html, short
from .map import events, shorten

MAX_COLUMNS, MAX_SITES = 3, 5
_NOT_SEEN, _UNKNOWN = ("absent", "unknown"), '<td class="unknown">?</td>'
_WHEN = {"written": "written now", "kept": "still good", "stale": "still there", "file": "will be written",
         "cleared": "was written, now cleared", "foreign": "was written"}  # fmt: skip


def columns(history: History, step: int, limit: int = MAX_COLUMNS) -> list[int]:
    """Steps with a column: at which a site was there and looked at; the latest, and always the current one."""

    def states(index: int) -> list[State]:
        seen = history.observed_at(index)
        return [history.states(key)[seen] for key in history.sites]

    past = [i for i in sorted({*events(history.recording), step}) if i <= step]
    useful = [i for i in past if i == step or any(state.kind not in _NOT_SEEN for state in states(i))]
    if len(useful) <= limit:
        return useful
    # The latest, and the one at which the bytes were last changed.
    changed = [i for i in useful[:-1] if any(state.changed for state in states(i))]
    if limit == 2 and any(state.changed for state in states(step)):
        changed = useful[:-1]  # what was there just before says most
    kept = {step, *changed[-1:], *(changed[:1] if limit > 2 else ())}  # the first writing stays beside the later ones
    return sorted(kept.union([i for i in useful if i not in kept][len(kept) - limit or len(useful) :]))


def chosen_sites(history: History, step: int, limit: int = MAX_SITES) -> list[str]:
    """The sites worth a row: the failing one, foreign ones, one of each livepatch, of each type and state, then in order."""
    seen = history.observed_at(step)
    keys = [key for key in history.sites if any(s.kind not in _NOT_SEEN for s in history.states(key)[: seen + 1])]
    alive = [key for key in keys if history.states(key)[seen].kind != "absent"] or keys

    def rank(key: str) -> tuple[bool, ...]:
        site, state, owner = history.sites[key], history.states(key)[seen], patch_of(key)
        kind = (owner, history.target(key), site.type if site else 0, state.kind)
        new_owner, new_kind = owner not in kinds, kind not in kinds
        kinds.update((owner, kind))
        alone = state.changed and not every_changed and (is_call(history, key) or not history.arch.has_stubs)
        return (key != history.failing(step), state.kind != "foreign", not alone, not new_owner, not new_kind)

    every_changed = all(history.states(key)[seen].changed for key in alive)
    kinds: set[object] = set()
    ranked = sorted([(rank(key), number, key) for number, key in enumerate(alive)])
    chosen = [key for _, _, key in ranked[:limit]]
    return chosen[:1] + [key for key in alive if key in chosen[1:]]


def counted(history: History, keys: Collection[str]) -> tuple[int, int]:
    """How many sites have a row, and how many there are in the livepatches of these rows."""
    owners = set(map(patch_of, keys))
    return len(keys), sum(patch_of(key) in owners for key in history.sites)


def grouped(value: bytes, pad: str = "<br>") -> str:
    """Bytes in groups of four: two lines for eight."""
    return pad.join(value[i : i + 4].hex(" ") for i in range(0, len(value), 4))


def letter(state: State) -> str:
    """The letter of a state, with the load that stale bytes are from.

    >>> letter(State("stale", b"x", 1))
    'S1'
    """
    return LETTERS[state.kind] + (str(state.load) if state.kind == "stale" and state.load else "")


def legend(kinds: Collection[str]) -> list[tuple[str, str]]:
    """(letter, meaning) of the kinds of state that are in use."""
    return [(f"{LETTERS[k]}{'n' if k == 'stale' else ''}", MEANING[k].format(n="n")) for k in LETTERS if k in kinds]


def symbol_label(history: History, key: str) -> str:
    """What a site is for: the relocation's type without its prefix, and the symbol with its position if it needs one."""
    site, file = history.sites.get(key), history.files.get(f"{patch_of(key)}.ko")
    if site is None or file is None:
        return f"→ {history.target(key) or '?'}"
    symbol = parse_symbol(site.symbol)
    position = f",{symbol.sympos}" if symbol and symbol.sympos else ""
    kind = file.type_name(site.type).removeprefix("R_X86_64_").removeprefix("R_PPC64_").removeprefix("R_AARCH64_")
    return f"{kind} → {symbol.name if symbol else site.symbol}{position}"


def _value(value: bytes, call: str) -> str:
    """Bytes as they are; for a call (of that architecture) each word with its instruction beside it."""
    if not call:
        return f"<code>{grouped(value)}</code>"
    said = [f'<span class="op">{escape(short(word, call))}</span>' for word in words_of(value)]
    return f"<code>{'<br>'.join(value[4 * i : 4 * i + 4].hex(' ') + op for i, op in enumerate(said))}</code>"


def _cell(state: State, css: str = "", call: str = "") -> str:
    value = _value(state.value, call) if state.value is not None else ""
    title = MEANING[state.kind].format(n=state.load or "an earlier time")
    return f'<td class="{state.kind}{css}" title="{title}">{value}<i>{letter(state)}</i></td>'


def heading(history: History, index: int) -> str:
    """A column's heading: the step, its verb, a mark if it was refused, and where its outcome was seen if not at once."""
    step, seen = history.recording[index], history.observed_at(index)
    verb = step.command.split(" ")[0]
    mark = " ✗" if step.refused and step.errno != EAGAIN else ""
    later = f" (seen at {seen + 1})" if seen != index else ""
    return f"{index + 1} {'disable' if verb == 'echo' else escape(verb)}{mark}{later}"


def bytes_pane(history: History, step: int, ask: bool = False, *, max_sites: int = MAX_SITES,
               max_columns: int = MAX_COLUMNS, file: bool = True, how: bool = True,
               rows: list[str] | None = None, steps: list[int] | None = None) -> str:  # fmt: skip
    """The table of sites over time, its legend, and the sum (or the instructions) of the first row.

    file: a column with the module file's bytes. how: the sum. rows, steps: these sites and columns, not those chosen here.
    """
    keys = rows or chosen_sites(history, step - 1 if ask and step else step, max_sites)
    if not keys:
        looked = any(earlier.sites is not None for earlier in history.recording.steps[: history.observed_at(step) + 1])
        said = "No livepatch with relocation sites is loaded." if looked else "The sites were not looked at up to here."
        return f"<h4>Relocation sites</h4><p><small>{said}</small></p>"
    shown = [i for i in steps or columns(history, step, max_columns) if not (ask and i == step)]
    with_file = file and any(history.file_bytes(key) is not None for key in keys)
    owners = list(dict.fromkeys(map(patch_of, keys)))
    head = "".join(f'<th scope="col"{" class=cur" if i == step else ""}>{heading(history, i)}</th>' for i in shown)
    if ask:
        head += f'<th scope="col" class=cur>{step + 1} ?</th>'
    body, used = "", {"file"} if with_file else set()
    for number, key in enumerate(keys):
        states = [history.states(key)[history.observed_at(i)] for i in shown]
        used |= {state.kind for state in states}
        row = _site_row(history, key, states, with_file, len(owners) > 1)
        body += f"<tr{'' if number else ' class=sel'}>{row}{_UNKNOWN if ask else ''}</tr>"
    rows_of, total = counted(history, keys)
    some = f"{rows_of} of {total} relocation sites" if rows_of < total else count(total, "relocation site")
    named = escape(owners[0]) if len(owners) == 1 else f"{len(owners)} livepatches"
    meanings = "".join(f"<span><b>{sign}</b> {meaning}</span>" for sign, meaning in legend(used))
    head = f'<th scope="col">site</th>{"<th scope=col class=fc>file</th>" if with_file else ""}{head}'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    below = "" if ask or not how else how_html(history, keys[0], step)
    said = f'<p class="legend">{meanings}</p>'
    return f"<h4>{some} in {named}, over time</h4>{table}{below}{said}"


def _site_row(history: History, key: str, states: list[State], with_file: bool, with_owner: bool) -> str:
    (patch, _, place), what = key.partition(":"), shorten(symbol_label(history, key), 26)
    name = f'<code title="{escape(place)}">{escape(shorten(place, 17))}</code><br><small>{escape(what)}</small>'
    if with_owner:
        name += f"<br><small>{escape(shorten(patch, 22))}</small>"
    call = history.arch.name if is_call(history, key) else ""
    cells, in_file = "".join(_cell(state, call=call) for state in states), history.file_bytes(key, 8 if call else None)
    if with_file:
        cells = (
            '<td class="fc" title="its file is not here">–</td>'
            if in_file is None
            else _cell(State("file", in_file), " fc", call)
        ) + cells
    return f'<th scope="row">{name}</th>{cells}'


def how_html(history: History, key: str, step: int) -> str:
    """How the bytes of a site come about: the instructions of a call on ppc64le, the sum of any other site."""
    asm = call_html(history, key, step)
    if not asm:
        return sum_html(history, key, step)
    label = f"{escape(key.partition(':')[2])}: {escape(symbol_label(history, key))}"
    return f'<div class="sum"><em>{label}</em>{asm}</div>'


def sum_html(history: History, key: str, step: int) -> str:
    """The arithmetic of one site, spelled out; what the kernel did with the result comes last."""
    seen = history.observed_at(step)
    found, state = history.sum_at(key, seen), history.states(key)[seen]
    if found is None or state.kind in ("absent", "unknown"):
        return ""
    failing = key == history.failing(step)
    place, when = escape(key.partition(":")[2]), "to be written now" if failing else _WHEN[state.kind]
    lines = [f"<em>{place}, {when}: {escape(symbol_label(history, key))}</em>"]
    what, minus = ("S + A − P", f" − {hexa(found.P)}") if found.relative else ("S + A", "")
    lines.append(f"{what} = {hexa(found.S)} {'−' if found.A < 0 else '+'} {abs(found.A)}{minus}")
    lines.append(f"= 0x{found.value:0{2 * len(found.stored)}x} <em>stored as</em> {found.stored.hex(' ')}")
    lines += _outcome(found, state, failing)
    old = sorted({i + 1 for i in (found.S_step, found.P_step) if i != seen})
    if old and not found.from_val:
        lines.append(f"<em>addresses as seen at step {', '.join(map(str, old))}</em>")
    return f'<div class="sum">{"<br>".join(lines)}</div>'


def _outcome(found: Sum, state: State, failing: bool) -> Iterator[str]:
    value = state.value or b""
    if failing:
        same = "the very same bytes" if value == found.stored else "other bytes"
        yield f"<em>The kernel asks: zero? It finds</em> {value.hex(' ')} <em>({same}) → refuse</em>"
    elif state.kind == "stale":
        load = f"load {state.load}" if state.load else "an earlier load"
        yield f"<em>S was a symbol of {load}; that memory is no longer the target's</em>"
    elif state.kind == "foreign":
        yield f"<em>now there:</em> {value.hex(' ')}<em>, which is no result of this sum</em>"
