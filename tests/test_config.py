"""fleet.config: hosts.toml, whole or not at all."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleet import config
from fleet.config import HostSpec, Settings, Timeouts
from fleet.errors import ConfigError

ROOT = Path(__file__).parent.parent


def test_without_a_file_the_fleet_is_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fleet status` needs no configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FLEET_CONFIG", raising=False)
    loaded = config.load()
    assert list(loaded.hosts) == ["local"]
    assert loaded.hosts["local"].is_local
    assert loaded.path is None


def test_the_example_is_valid_and_has_every_key() -> None:
    """hosts.example.toml parses, and names every key with its default or an example."""
    path = ROOT / "hosts.example.toml"
    loaded = config.load(path)
    assert loaded.hosts["gpu01"].timeouts == Timeouts()
    jump = loaded.hosts["gpu01"].jump
    assert jump is not None
    assert jump.address == "bastion.example.org"
    assert loaded.groups["mine"] == ("gpu01", "gpu02", "devvm")
    text = path.read_text()
    for key in (*Settings.__struct_fields__, *Timeouts.__struct_fields__):
        assert f"{key} =" in text, key


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    """A file that is named and missing is an error, not a default."""
    with pytest.raises(ConfigError, match="no such file"):
        config.load(tmp_path / "none.toml")


def test_a_host_takes_its_own_value_then_the_default(tmp_path: Path) -> None:
    """[hosts.NAME] over [defaults] over the built-in default, timeouts key by key; paths are absolute."""
    path = tmp_path / "hosts.toml"
    path.write_text(
        '[defaults]\nuser = "dev"\nidentity = "keys/id"\ntimeouts = { connect_s = 2, auth_s = 3 }\n'
        '[hosts.a]\nuser = "me"\ntimeouts = { auth_s = 9 }\n[hosts.b]\nssh_config = "none"\n'
    )
    a, b = (config.load(path).hosts[n] for n in "ab")
    assert (a.user, b.user) == ("me", "dev")
    assert (a.timeouts.connect_s, a.timeouts.auth_s, a.timeouts.dns_s) == (2, 9, 5)
    assert a.identity == (str(tmp_path / "keys/id"),)
    assert a.ssh_config == os.path.expanduser("~/.ssh/config")
    assert b.ssh_config is None


def test_only_this_machine_may_be_controlled_unless_a_host_says_so() -> None:
    """`control` is false for every host but local; a default or an entry of the file decides (PROMISES 28)."""

    def controlled(tables: dict[str, Any]) -> list[str]:
        return [name for name, spec in config.parse(tables, None).hosts.items() if spec.control]

    hosts: dict[str, Any] = {"a": {}, "b": {"control": True}}
    assert controlled({"hosts": hosts}) == ["local", "b"]
    assert controlled({"hosts": hosts, "defaults": {"control": False}}) == ["b"]
    assert controlled({"hosts": hosts, "defaults": {"control": True}}) == ["local", "a", "b"]
    assert controlled({"hosts": {**hosts, "local": {"control": False}}}) == ["b"]


def test_jump_hosts_are_found_in_the_file_or_parsed() -> None:
    """A jump names a host of the file, or is [user@]host[:port]; a list is travelled in its order."""
    hosts = config.parse(
        {
            "hosts": {
                "a": {"jump": "bastion"},
                "b": {"jump": "me@outer:2200,bastion"},
                "c": {"jump": "[::1]:22"},
                "bastion": {"address": "10.0.0.1"},
            }
        },
        None,
    ).hosts
    assert hosts["a"].jump == hosts["bastion"]
    assert hosts["b"].jump is not None
    outer = hosts["b"].jump.jump
    assert outer is not None
    assert (hosts["b"].jump.address, outer.address, outer.user, outer.port) == ("10.0.0.1", "outer", "me", 2200)
    assert hosts["c"].jump is not None
    assert hosts["c"].jump.address == "::1"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"hosts": {"a": {"control": "yes"}}}, "[hosts.a] control = 'yes': must be true or false"),
    ({"host": {}}, "the file has an unknown key 'host'; did you mean 'hosts'?"),
    ({"hosts": {"a": {"prot": 1}}}, "[hosts.a] has an unknown key 'prot'; did you mean 'port'?"),
    ({"hosts": {"a": {"port": "22"}}}, "[hosts.a] port = '22': must be a number from 1 to 65535"),
    ({"hosts": {"a": {"port": 70000}}}, "[hosts.a] port = 70000: must be a number from 1 to 65535"),
    (
        {"hosts": {"a": {"install": "always"}}},
        """[hosts.a] install = 'always': must be "auto" or "never\"""",
    ),
    (
        {"defaults": {"privacy": "all"}},
        """[defaults] privacy = 'all': must be one of "meta", "title" and "text\"""",
    ),
    (
        {"hosts": {"a": {"timeouts": {"auth_s": 0}}}},
        "[hosts.a] timeouts auth_s = 0: must be a number of seconds",
    ),
    ({"hosts": {"a": {"timeouts": {"login_s": 1}}}}, "unknown key 'login_s'; known: dns_s, connect_s"),
    ({"hosts": {"a": {"timeouts": 5}}}, "[hosts.a] timeouts = 5: must be a table, like { connect_s = 10 }"),
    ({"hosts": {"a": {"tags": "gpu"}}}, """tags = 'gpu': must be a list of words, like ["a", "b"]"""),
    ({"hosts": {"a": {"identity": 3}}}, "[hosts.a] identity = 3: must be a path"),
    ({"hosts": {"a b": {}}}, "'a b' cannot be a host's name; use letters, digits"),
    ({"hosts": {"all": {}}}, "'all' cannot be a host's name"),
    ({"hosts": {"a": "10.0.0.1"}}, "hosts.a: is not a table; write [hosts.a] on a line of its own"),
    ({"hosts": ["a"]}, "hosts = ['a']: is not a table; write [hosts]"),
    ({"hosts": {"local": {"address": "::1"}}}, "[hosts.local] address: 'local' is this machine"),
    ({"hosts": {"a": {"jump": "b"}, "b": {"jump": "a"}}}, "jump goes in a circle: a -> b -> a"),
    ({"hosts": {"a": {"jump": "-oProxyCommand=x"}}}, "[hosts.a] jump '-oProxyCommand=x': must be a host"),
    ({"groups": {"g": ["nope"]}}, "[groups] 'g': no host 'nope'"),
    ({"groups": {"g": "local"}}, "[groups] g = 'local': must be a list of host expressions"),
]


@pytest.mark.parametrize(("tables", "words"), WRONG, ids=lambda v: v[:40] if isinstance(v, str) else "")
def test_a_rejected_file_names_file_key_value_and_fix(tables: dict[str, Any], words: str) -> None:
    """Half a configuration is never applied, and the message is enough to mend it (PROMISES 25)."""
    with pytest.raises(ConfigError) as caught:
        config.parse(tables, Path("/etc/fleet/hosts.toml"))
    assert str(caught.value).startswith("/etc/fleet/hosts.toml: ")
    assert words in str(caught.value)


def test_a_file_that_is_not_toml_says_where(tmp_path: Path) -> None:
    """A syntax error names the line."""
    path = tmp_path / "hosts.toml"
    path.write_text("[hosts.a\n")
    with pytest.raises(ConfigError, match=r"hosts\.toml: is not TOML: .*line 1"):
        config.load(path)


def test_ten_thousand_hosts_are_the_most() -> None:
    """A clear error instead of a machine on its knees."""
    with pytest.raises(ConfigError, match="at most 10000"):
        config.parse({"hosts": {f"h{i}": {} for i in range(10_001)}}, None)


def test_a_host_is_plain_data() -> None:
    """A HostSpec can key a dictionary: jump connections are shared by it."""
    assert hash(HostSpec("a")) == hash(msgspec.structs.replace(HostSpec("b"), name="a"))
