"""Host expressions: `all`, `name`, `@group`, `node[1-9,12]`, `!x`, joined by commas. Pure.

Expansion keeps zero padding (`gpu[01-04]` has gpu01, not gpu1); folding is its inverse for output:
`fold(["gpu01", "gpu02"])` is `gpu[01-02]`. The syntax is the one of ClusterShell, pdsh and Slurm.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from fleet.errors import UsageError

Host = TypeVar("Host")

ALL = "all"
MAX_EXPANSION = 10_000
_SHOWN_CHARS = 200  # of the known names, in a message
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_NUMBERED = re.compile(r"(.*?)(\d{1,9})(\D*)", re.DOTALL)


def select(
    expressions: Sequence[str],
    excludes: Sequence[str],
    hosts: Mapping[str, Host],
    groups: Mapping[str, tuple[str, ...]],
) -> tuple[Host, ...]:
    """Those of `hosts` (by name) that the expressions name, less the excluded, in the order of `hosts`.

    No expression means all hosts; so does one that only excludes (`!gpu01`). Raises `UsageError` for a
    malformed expression, a host or group that does not exist, and a selection that is empty.
    """
    if expressions and not _terms(",".join(expressions)):
        raise UsageError("--host is empty; name a host, @group or `all`, or leave the option out")
    terms = _terms(",".join(expressions)) + [f"!{t.removeprefix('!')}" for t in _terms(",".join(excludes))]
    names = set(_pick(terms, groups.get, groups, hosts))
    if not names:
        raise UsageError("no host is left after exclusion; name at least one with --host")
    return tuple(host for name, host in hosts.items() if name in names)


def resolve_groups(raw: Mapping[str, Sequence[str]], known: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Group -> host names, each group's expressions expanded. Raises `UsageError`, also for a cycle."""
    done: dict[str, tuple[str, ...]] = {}

    def resolve(group: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if group in path:
            raise UsageError(f"{group!r} contains itself: {' -> '.join((*path, group))}")
        if group not in done and group in raw:
            terms = [t for text in raw[group] for t in _terms(text)]
            try:
                done[group] = tuple(_pick(terms, lambda g: resolve(g, (*path, group)), raw, known))
            except UsageError as exc:
                raise exc if path else UsageError(f"{group!r}: {exc}") from None
        return done.get(group)

    for group in raw:
        resolve(group, ())
    return done


def _pick(
    terms: Sequence[str],
    members: Callable[[str], tuple[str, ...] | None],
    groups: Collection[str],
    known: Collection[str],
) -> dict[str, None]:
    """The hosts that terms name, in their order; terms with `!` take away, whatever their place."""
    found: dict[str, None] = {}
    for term in [t for t in terms if not t.startswith("!")] or [ALL]:
        found |= dict.fromkeys(_names(term, members, groups, known))
    for term in (t.removeprefix("!") for t in terms if t.startswith("!")):
        for name in _names(term, members, groups, known):
            found.pop(name, None)
    return found


def _names(
    term: str,
    members: Callable[[str], tuple[str, ...] | None],
    groups: Collection[str],
    known: Collection[str],
) -> Collection[str]:
    """The hosts that one term (without `!`) names."""
    if term == ALL:
        return known
    if term.startswith("@"):
        if (names := members(term[1:])) is None:
            raise UsageError(f"no group {term!r}{_near(term[1:], groups, '@')}")
        return names
    for name in (names := tuple(expand(term))):
        if name not in known:
            raise UsageError(f"no host {name!r}{_near(name, known)}; hosts are the [hosts.NAME] of hosts.toml")
    return names


def _near(word: str, known: Collection[str], prefix: str = "") -> str:
    if near := get_close_matches(word, list(known), 1):
        return f"; did you mean {prefix + near[0]!r}?"
    names = fold(known)
    shown = names if len(names) <= _SHOWN_CHARS else names[:_SHOWN_CHARS] + "…"
    return f"; known: {shown}" if known else "; there are none"


def _terms(text: str) -> list[str]:
    """Split at the commas that are not inside brackets; white space around a term is dropped."""
    terms = [t.strip() for t in re.split(r",(?![^\[]*\])", text)]
    return [t for t in terms if t]


def expand(term: str) -> list[str]:
    """`node[1-3,7]` -> node1, node2, node3, node7. Several brackets multiply. Raises `UsageError`."""
    parts = _BRACKET.split(term)  # odd places are what brackets held
    if any("[" in p or "]" in p for p in parts):
        raise UsageError(f"{term!r}: brackets do not pair; write them like node[1-9,12]")
    choices = [_numbers(term, p) if i % 2 else [p] for i, p in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MAX_EXPANSION:
        raise UsageError(f"{term!r} names {count} hosts; at most {MAX_EXPANSION} can be named at once")
    return ["".join(combination) for combination in itertools.product(*choices)]


def _numbers(term: str, ranges: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{term!r}: {part!r} is not a number or a range like 1-9")
        low, high = match[1], match[2] or match[1]
        if int(high) < int(low):
            raise UsageError(f"{term!r}: the range {part!r} runs backwards; write {high}-{low}")
        if int(high) - int(low) >= MAX_EXPANSION:
            raise UsageError(f"{term!r} names more than {MAX_EXPANSION} hosts")
        numbers += [str(n).zfill(len(low)) for n in range(int(low), int(high) + 1)]
    return numbers


def fold(names: Iterable[str]) -> str:
    """Host names in their shortest form: `["gpu01", "gpu02", "web"]` -> `gpu[01-02],web`.

    Names are folded by their first number; prefixes are in alphabetical order. `expand` undoes it.
    """
    plain: set[str] = set()
    families: dict[tuple[str, str, int], set[int]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match is None:
            plain.add(name)
            continue
        prefix, digits, suffix = match.groups()
        width = len(digits) if digits.startswith("0") else 0  # 0: not padded
        families.setdefault((prefix, suffix, width), set()).add(int(digits))
    folded = [_fold_family(*key, sorted(numbers)) for key, numbers in families.items()]
    return ",".join(sorted([*plain, *folded]))


def _fold_family(prefix: str, suffix: str, width: int, numbers: list[int]) -> str:
    runs: list[tuple[int, int]] = []
    for n in numbers:
        if runs and n == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], n)
        else:
            runs.append((n, n))
    spelled = [str(a).zfill(width) + (f"-{str(b).zfill(width)}" if b > a else "") for a, b in runs]
    if len(numbers) == 1:
        return f"{prefix}{spelled[0]}{suffix}"
    return f"{prefix}[{','.join(spelled)}]{suffix}"
