"""fleet.hosts: naming many hosts in few characters."""

import pytest
from ClusterShell.NodeSet import NodeSet
from hypothesis import given
from hypothesis import strategies as st

from fleet import config
from fleet.errors import UsageError
from fleet.hosts import expand, fold, resolve_groups, select

CONFIG = config.parse(
    {
        "hosts": {n: {} for n in ("gpu01", "gpu02", "gpu03", "web", "db1")} | {"db2": {"tags": ["sql"]}},
        "groups": {"gpu": ["gpu[01-03]"], "all-but-web": ["all", "!web"], "mixed": ["@gpu", "db1", "!gpu02"]},
    },
    None,
)


@pytest.mark.parametrize(
    ("expressions", "excludes", "names"),
    [
        ([], [], "local gpu01 gpu02 gpu03 web db1 db2"),
        (["all"], ["local"], "gpu01 gpu02 gpu03 web db1 db2"),
        (["web,gpu[01-02]"], [], "gpu01 gpu02 web"),
        (["web", "db1"], [], "web db1"),
        (["@gpu,!gpu02"], [], "gpu01 gpu03"),
        (["!@gpu,!local"], [], "web db1 db2"),
        (["@mixed"], [], "gpu01 gpu03 db1"),
        (["@sql"], [], "db2"),
        (["@all-but-web"], ["@gpu", "!db1"], "local db2"),
        (["gpu[01,03]"], [], "gpu01 gpu03"),
    ],
)
def test_selection(expressions: list[str], excludes: list[str], names: str) -> None:
    """Names, groups, tags, ranges and exclusions, in the order of the configuration."""
    assert [s.name for s in select(expressions, excludes, CONFIG.hosts, CONFIG.groups)] == names.split()


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("gpu1", "no host 'gpu1'; did you mean 'gpu01'?"),
        ("zzz", "known: db[1-2],gpu[01-03],local,web"),
        ("@gpus", "did you mean '@gpu'?"),
        ("gpu[3-1]", "runs backwards"),
        ("gpu[01", "brackets do not pair"),
        ("gpu[a-b]", "'a-b' is not a number"),
        ("n[1-999999999]", "more than 10000"),
        ("n[1-999][1-999]", "at most 10000"),
        ("!all", "no host is left"),
        (" , ", "--host is empty"),
    ],
)
def test_a_wrong_expression_says_what_and_why(expression: str, words: str) -> None:
    """A usage error names the term, the reason, and what would be right."""
    with pytest.raises(UsageError) as caught:
        select([expression], [], CONFIG.hosts, CONFIG.groups)
    assert words in str(caught.value)


def test_groups_that_contain_themselves_are_refused() -> None:
    """A cycle is named, not followed."""
    with pytest.raises(UsageError, match="a -> b -> a"):
        resolve_groups({"a": ["@b"], "b": ["@a"]}, ())


NAMES = st.lists(
    st.builds(
        lambda stem, n, width: f"{stem}{n:0{width}d}",
        st.sampled_from(["gpu", "node-", "w"]), st.integers(0, 120), st.integers(1, 4),
    ),
    min_size=1, max_size=40, unique=True,
)  # fmt: skip


@given(NAMES)
def test_folding_loses_nothing(names: list[str]) -> None:
    """Expanding what was folded gives the same hosts, zero padding included."""
    folded = fold(names)
    assert sorted(n for term in folded.replace("],", "]\n").split("\n") for n in _expand_all(term)) == sorted(
        names
    )


def _expand_all(text: str) -> list[str]:
    return list(select([text], [], {name: name for name in _brute(text)}, {}))


def _brute(text: str) -> list[str]:
    return [str(n) for n in NodeSet(text)]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 3))
def test_expansion_agrees_with_clustershell(low: int, span: int, width: int) -> None:
    """The syntax is ClusterShell's: the same ranges, the same padding."""
    term = f"n[{low:0{width}d}-{low + span:0{width}d}]x"
    assert sorted(expand(term)) == sorted(str(n) for n in NodeSet(term))
