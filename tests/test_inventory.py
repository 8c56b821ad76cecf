"""fleet.inventory: hosts.toml edited, whole or not at all, with its comments."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import FleetError
from fleet.inventory import settings, with_hosts, without_host

PATH = Path("/etc/fleet/hosts.toml")
TEXT = """\
# my fleet
[defaults]
user = "dev"   # everywhere

[hosts.gpu01]  # the old one
address = "10.0.0.4"
timeouts = { connect_s = 20 }

[hosts]
web = { port = 2222 }   # inline

# groups
[groups]
gpu = [
    "gpu01",  # first
    "web",
]
"""


def test_a_host_is_added_and_nothing_else_changes() -> None:
    """Every line of the file is still there, comments included; the host joins its groups."""
    text, config = with_hosts(TEXT, {"gpu02": {"address": "10.0.0.5"}}, ["gpu", "new"], PATH)
    assert [line for line in TEXT.splitlines() if line not in text.splitlines()] == []
    assert config.hosts["gpu02"].address == "10.0.0.5"
    assert config.hosts["gpu02"].user == "dev"
    assert config.groups == {"gpu": ("gpu01", "web", "gpu02"), "new": ("gpu02",)}
    assert tomllib.loads(text)["hosts"]["web"] == {"port": 2222}


def test_what_was_added_can_be_taken_away() -> None:
    """The file means again what it meant."""
    text, _ = with_hosts(TEXT, {"gpu02": {"address": "10.0.0.5"}}, ["gpu"], PATH)
    again, config = without_host(text, "gpu02", PATH)
    assert tomllib.loads(again) == tomllib.loads(TEXT)
    assert "# first" in again
    assert "gpu02" not in config.hosts


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True).filter(
    lambda n: n not in ("all", "local")
)


@given(
    st.lists(NAMES, min_size=1, max_size=6, unique=True),
    st.sampled_from(["", TEXT, "# nothing\n", "[groups]\n"]),
)
def test_any_names_can_be_added_to_any_file(names: list[str], text: str) -> None:
    """Dots, digits and dashes in names; an empty file, one of comments, one without hosts."""
    names = [name for name in names if name not in ("gpu01", "web")]
    for name in names:
        text, config = with_hosts(text, {name: {"port": 22}}, [], PATH)
        assert config.hosts[name].port == 22
    assert set(names) <= set(tomllib.loads(text).get("hosts", {}))


WRONG: list[tuple[str, dict[str, dict[str, Any]], str]] = [
    (TEXT, {"gpu01": {}}, "there is a host 'gpu01' already"),
    ("", {"local": {}}, "there is a host 'local' already"),
    ("", {"a b": {}}, "'a b' cannot be a host's name"),
    ("", {"all": {}}, "'all' cannot be a host's name"),
    ("", {"a": {"port": 0}}, "[hosts.a] port = 0: must be a number from 1 to 65535"),
    ("", {"a": {"jump": "-x"}}, "[hosts.a] jump '-x': must be a host of hosts.toml or [user@]host[:port]"),
    ("", {"a": {"jump": "a"}}, "jump goes in a circle"),
    ("[hosts.x\n", {"a": {}}, "is not TOML"),
    ("[hots]\n", {"a": {}}, "did you mean 'hosts'?"),
    ("hosts = { b = {} }\n", {f"h{i}": {} for i in range(10_000)}, "at most 10000"),
]


@pytest.mark.parametrize(("text", "added", "words"), WRONG, ids=lambda v: v[:30] if isinstance(v, str) else "")
def test_what_cannot_be_added_is_told(text: str, added: dict[str, Any], words: str) -> None:
    """The message names the file, the thing, the reason and the fix (PROMISES 25)."""
    with pytest.raises(FleetError) as caught:
        with_hosts(text, added, [], PATH)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(PATH))


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (TEXT, "nope", "there is no host 'nope'"),
        ('[hosts.b]\n[hosts.a]\njump = "x,b"\n', "b", "'b' is the jump of a; change those first"),
        ('[defaults]\njump = "b"\n[hosts.b]\njump = "c"\n[hosts.a]\n', "b", "'b' is the jump of a"),
        ('[hosts.b1]\n[groups]\ng = ["b[1-1]"]\n', "b1", "[groups] 'g': no host 'b1'"),
    ],
)
def test_what_cannot_be_taken_away_is_told(text: str, name: str, words: str) -> None:
    """A host that others need stays, and the message says who."""
    with pytest.raises(FleetError) as caught:
        without_host(text, name, PATH)
    assert words in str(caught.value)


def test_every_setting_has_its_source() -> None:
    """The host's own table, the defaults, ssh, fleet's default: in this order."""
    tables = tomllib.loads(TEXT)
    found = {
        key: (value, source) for key, value, source in settings(tables, "gpu01", {"user": "me", "port": 22})
    }
    assert found["address"] == ("10.0.0.4", "[hosts.gpu01]")
    assert found["user"] == ("dev", "[defaults]")
    assert found["port"] == (22, "ssh")
    assert found["privacy"] == ("meta", "default")
    assert found["timeouts.connect_s"] == (20, "[hosts.gpu01]")
    assert found["timeouts.dns_s"] == (5.0, "default")
    assert "user" not in {key for key, _, _ in settings(tables, "local", {})}
