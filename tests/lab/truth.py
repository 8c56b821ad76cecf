"""What is true of sessions beside what fleet says of them: how right that is, and the tables of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

LEAST_RIGHT = 0.95  # of all readings; the others may only be unsure
WHOLE = 200  # readings; a run with less is a part of the table, and says nothing of its share
NOT_SEEN = "not seen"
SURE = ("fact", "strong")
WAYS = ("snapshot", "stream")


class Reading(NamedTuple):
    """One answer beside the truth of that moment. `truth` and `answer` are `state` or `state/detail`.

    `release` is Codex's, `surface` how it runs (TUI, exec ...), `case` what was brought about, `way` how fleet
    was asked: one of `WAYS`.
    """

    release: str
    surface: str
    case: str
    truth: str
    way: str
    answer: str
    evidence: str | None
    confidence: str | None
    reason: str

    @property
    def outcome(self) -> str:
        """right; unsure: unknown, weak, or the state without its detail; wrong: anything else."""
        if self.answer == self.truth:
            return "right"
        vague = self.answer in ("unknown", NOT_SEEN, self.truth.partition("/")[0])
        return "unsure" if vague or self.confidence not in SURE else "wrong"

    @property
    def said(self) -> str:
        """The answer with its grounds, where it is right only these."""
        grounds = f"{self.evidence}, {self.confidence}"
        return grounds if self.outcome == "right" else f"{self.outcome}: {self.answer} ({grounds})"

    def __str__(self) -> str:
        case = f"{self.release} {self.surface}, {self.case}, by {self.way}: it is {self.truth}"
        return f"{case}; fleet says {self.answer} ({self.evidence}, {self.confidence}): {self.reason}"


def answer(session: Mapping[str, Any] | None) -> str:
    """The `state/detail` of a row of fleet-agent."""
    if session is None:
        return NOT_SEEN
    detail = session.get("detail")
    return f"{session['state']}/{detail}" if detail else str(session["state"])


def too_few_right(readings: Sequence[Reading]) -> bool:
    """Whether this is the whole table and not enough of it is right."""
    return len(readings) >= WHOLE and share_right(readings) < LEAST_RIGHT


def share_right(readings: Sequence[Reading]) -> float:
    """How many of the readings are right, from 0 to 1."""
    return sum(reading.outcome == "right" for reading in readings) / len(readings)


def summary(readings: Sequence[Reading]) -> str:
    """`120 readings of 60 states: 118 right (98.3%), 2 unsure, 0 wrong`."""
    outcomes = Counter(reading.outcome for reading in readings)
    states = len({reading[:4] for reading in readings})
    right = f"{outcomes['right']} right ({share_right(readings):.1%})"
    others = f"{outcomes['unsure']} unsure, {outcomes['wrong']} wrong"
    return f"{len(readings)} readings of {states} states: {right}, {others}"


def confusion_matrix(readings: Sequence[Reading]) -> list[str]:
    """Lines: a row for each truth, a column for each answer, and what that comes to."""
    counts = Counter((reading.truth, reading.answer) for reading in readings)
    truths = sorted({truth for truth, _ in counts})
    answers = [*truths, *sorted({said for _, said in counts} - set(truths))]
    letters = [chr(ord("a") + number) for number in range(len(answers))]
    width = max(map(len, answers))
    lines = [" " * (width + 2) + _cells(letters) + "  <- fleet says"]
    for letter, truth in zip(letters, answers, strict=True):
        row = _cells([counts[truth, said] or "." for said in answers]) if truth in truths else ""
        lines.append(f"{letter} {truth:<{width}}{row}".rstrip())
    return [*lines, "", summary(readings)]


def case_table(readings: Sequence[Reading]) -> list[str]:
    """Lines of Markdown: a row for each state that was brought about, and on what grounds fleet told it."""
    cases: dict[tuple[str, ...], list[Reading]] = {}
    for reading in sorted(readings, key=lambda r: (r.surface, r.truth, r.case)):
        cases.setdefault(reading[1:4], []).append(reading)
    lines = [
        "| Codex runs as | what is so | state | how fleet knows | releases |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (surface, case, truth), of_case in cases.items():
        said = "; ".join(sorted({reading.said for reading in of_case}))
        releases = ", ".join(sorted({reading.release.removesuffix(".0") for reading in of_case}))
        lines.append(f"| {surface} | {case} | `{truth}` | {said} | {releases} |")
    return lines


def with_tables(page: str, readings: Sequence[Reading]) -> str:
    """A page with the tables between its marks (`<!-- matrix -->`, `<!-- /matrix -->`; `cases`) made anew."""
    matrix = ["```", *confusion_matrix(readings), "```"]
    for name, lines in (("matrix", matrix), ("cases", case_table(readings))):
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = page.partition(begin)
        page = "\n".join([before + begin, *lines, end + rest.partition(end)[2]])
    return page


def _cells(values: Iterable[object]) -> str:
    return "".join(f"{value:>4}" for value in values)
