"""What `fleet hosts check` shows: a line a host, then what is wrong and what mends it. Pure."""

from collections.abc import Iterator, Sequence

from fleet.checks import Check, Status, Step
from fleet.hosts import fold
from fleet.views import cells, units
from fleet.views.lines import Line, Style

_GAP = "  "
_HEADINGS = ("HOST", "RESULT", "PYTHON", "AGENT", "TOOLS", "CLOCK")
_STYLES = {Status.FAILED: Style.FAILED, Status.WARNING: Style.WAITING, Status.SKIPPED: Style.QUIET}


def table(checks: Sequence[Check], width: int | None) -> list[Line]:
    """All hosts, what is wrong with which, and a summary. No line of the table is wider than `width` cells."""
    rows = [_row(check) for check in checks]
    widths = [max(map(cells.width, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    lines: list[Line] = [((_line(_HEADINGS, widths, width), Style.HEADER),)]
    for check, row in zip(checks, rows, strict=True):
        lines.append(((_line(row, widths, width), Style.FAILED if check.failed else None),))
    return [*lines, *_findings(checks, width), *_summary(checks)]


def steps(check: Check, width: int | None) -> list[Line]:
    """One host, a line a step, what mends it below."""
    longest = max(len(step.name) for step in check.steps)
    return [line for step in check.steps for line in _step(step, longest, width)]


def _step(step: Step, longest: int, width: int | None) -> Iterator[Line]:
    text = f"{step.name:<{longest}}  {step.status:<7}  {step.note}".rstrip()
    indent = " " * (longest + 11)
    for part in cells.wrap(text, width, indent):
        yield ((part, _STYLES.get(step.status)),)
    if step.hint:
        for part in cells.wrap(f"{indent}fix: {step.hint}", width, indent):
            yield ((part, Style.QUIET),)


def _row(check: Check) -> tuple[str, ...]:
    failed = check.failed
    is_warned = any(step.status is Status.WARNING for step in check.steps)
    result = f"{failed.name} failed" if failed else "warning" if is_warned else "ok"
    notes = (check.step(name) for name in ("python", "agent", "tools", "clock"))
    return (check.host, result, *map(_short, notes))


def _short(step: Step) -> str:
    if step.status is Status.SKIPPED or (step.status is Status.FAILED and step.name == "agent"):
        return units.UNKNOWN
    return step.note or ("ok" if step.status is Status.OK else units.UNKNOWN)


def _findings(checks: Sequence[Check], width: int | None) -> Iterator[Line]:
    """Every failure and warning once, with all hosts that have it."""
    found: dict[Step, list[str]] = {}
    for check in checks:
        for step in check.steps:
            if step is check.failed or (step.status is Status.WARNING and not check.failed):
                found.setdefault(step, []).append(check.host)
    if found:
        yield (("", None),)
    for step, names in found.items():
        style = _STYLES[step.status]
        for part in cells.wrap(f"{fold(names)}: {step.name}: {step.note}", width, "  "):
            yield ((part, style),)
        if step.hint:
            for part in cells.wrap(f"  fix: {step.hint}", width, "  "):
                yield ((part, Style.QUIET),)


def _summary(checks: Sequence[Check]) -> Iterator[Line]:
    failed = [check.failed.name for check in checks if check.failed]
    counts = ", ".join(f"{failed.count(name)} {name}" for name in dict.fromkeys(failed))
    works = f"{len(checks) - len(failed)} of {len(checks)} hosts work"
    yield (("", None),)
    yield ((f"{works}; failed: {counts}" if failed else works, None),)


def _line(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    text = _GAP.join(map(cells.ljust, row, widths)).rstrip()
    return text if width is None else cells.clip(text, width)
