"""The table of `fleet ps`: one line a run, newest first, numbered. Pure."""

from collections.abc import Sequence

from fleet.views import units
from fleet.views.columns import columns
from fleet.views.controlled import RunEntry
from fleet.views.lines import Line, Style

NONE = (
    "fleet has started no session on the hosts that answered; `fleet run` does, `fleet status` shows the others"
)
_HEADINGS = ("#", "HOST", "NAME", "ID", "TOOL", "MODE", "STATE", "PID", "OUT", "ERR", "AGE", "PROMPT")
_STYLES = {"running": Style.WORKING, "exited": Style.QUIET, "lost": Style.FAILED}
_ID_CHARS = 8
_SIGNALS = {1: "HUP", 2: "INT", 6: "ABRT", 9: "KILL", 11: "SEGV", 15: "TERM"}


def runs_table(entries: Sequence[RunEntry], width: int | None) -> list[Line]:
    """The lines. No line is wider than `width` cells."""
    rows = [_cells(number, entry) for number, entry in enumerate(entries, 1)]
    return columns(_HEADINGS, rows, [_style(entry) for entry in entries], width)


def ending(entry: RunEntry) -> str:
    """Its state, and how it ended."""
    if entry.signal is not None:
        return f"killed {_SIGNALS.get(entry.signal, entry.signal)}"
    if entry.exit_code is not None:
        return f"exited {entry.exit_code}"
    return entry.state


def _style(entry: RunEntry) -> Style | None:
    failed = entry.signal is not None or entry.exit_code not in (None, 0)
    return Style.FAILED if failed else _STYLES.get(entry.state)


def _cells(number: int, entry: RunEntry) -> tuple[str, ...]:
    prompt = " ".join((entry.prompt or "").split())
    return (
        str(number),
        entry.host,
        entry.name,
        entry.id[:_ID_CHARS] if entry.id else units.UNKNOWN,
        entry.tool,
        entry.mode,
        ending(entry),
        str(entry.pid) if entry.pid else units.UNKNOWN,
        units.count(entry.out_bytes),
        units.count(entry.err_bytes),
        units.age(entry.age_s),
        prompt or units.UNKNOWN,
    )
