"""fleet.paths: where files are."""

from pathlib import Path

import pytest

from fleet import paths
from fleet.errors import ConfigError


def test_the_runtime_directory(tmp_path: Path) -> None:
    """FLEET_RUNTIME_DIR, else systemd's, else XDG's if it exists, else below the state directory."""
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    assert paths.runtime_directory(environ) == tmp_path / "state/fleet/run"
    environ["XDG_RUNTIME_DIR"] = str(tmp_path / "gone")
    assert paths.runtime_directory(environ) == tmp_path / "state/fleet/run"
    environ["XDG_RUNTIME_DIR"] = str(tmp_path)
    assert paths.runtime_directory(environ) == tmp_path / "fleet"
    environ["RUNTIME_DIRECTORY"] = "/run/a:/run/b"
    assert paths.runtime_directory(environ) == Path("/run/a")
    environ["FLEET_RUNTIME_DIR"] = "/mine"
    assert paths.socket_path(environ) == Path("/mine/fleet.sock")
    assert paths.lock_path(environ) == Path("/mine/daemon.lock")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a container's, which no passwd file knows: told with the fix, when a home is needed."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31)
    with pytest.raises(ConfigError, match=r"~/\.config: there is no such home; set HOME"):
        paths.config_file({})
    assert paths.config_file({"FLEET_CONFIG": "/etc/mine.toml"}) == Path("/etc/mine.toml")


def test_the_state_directory(tmp_path: Path) -> None:
    """systemd's, else XDG's."""
    assert paths.token_path({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "fleet/token"
    assert paths.token_path({"STATE_DIRECTORY": "/var/lib/fleet"}) == Path("/var/lib/fleet/token")


def test_caches_and_wheels(tmp_path: Path) -> None:
    """XDG's cache or systemd's; wheels that somebody brought lie beside hosts.toml, or where he says."""
    assert paths.cache_directory({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "fleet"
    assert paths.cache_directory({"CACHE_DIRECTORY": "/var/cache/fleet"}) == Path("/var/cache/fleet")
    assert paths.wheels_directory({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "fleet/wheels"
    assert paths.wheels_directory({"FLEET_WHEELS": "/mnt/wheels"}) == Path("/mnt/wheels")


def test_the_configuration_in_force(tmp_path: Path) -> None:
    """The named one even if it is not there, else the user's, else the machine's, else none."""
    own = tmp_path / "fleet" / "hosts.toml"
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert paths.config_file(environ) in (None, Path("/etc/fleet/hosts.toml"))
    own.parent.mkdir()
    own.touch()
    assert paths.config_file(environ) == own
    assert paths.config_file({**environ, "FLEET_CONFIG": "/x.toml"}) == Path("/x.toml")


def test_a_socket_has_to_fit() -> None:
    """sun_path is short; a deep home directory must be an error that says so, not a strange one."""
    assert paths.fits_a_socket(Path("/run/user/1000/fleet/fleet.sock"))
    assert not paths.fits_a_socket(Path("/" + "x" * 103))
