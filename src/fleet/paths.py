"""Where fleet's files are: XDG directories, on macOS too, or what systemd gives. Nothing is created here."""

import os
from collections.abc import Mapping
from pathlib import Path

_MAX_SOCKET_BYTES = 103  # sun_path is 108 bytes on Linux and 104 on macOS, with a NUL


def expanded(path: str | Path) -> Path:
    """The path, a `~` or `~user` at its beginning as that home. Raises `ConfigError` where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        from fleet.errors import ConfigError  # msgspec, which most that look for a file here do not need

        raise ConfigError(f"{path}: there is no such home; set HOME, or write the path whole") from None


def config_file(environ: Mapping[str, str]) -> Path | None:
    """The hosts.toml that is in force, or None. One that `$FLEET_CONFIG` names need not exist."""
    if named := environ.get("FLEET_CONFIG"):
        return expanded(named)
    candidates = (user_config_file(environ), Path("/etc/fleet/hosts.toml"))
    return next((path for path in candidates if path.is_file()), None)


def user_config_file(environ: Mapping[str, str]) -> Path:
    """The user's own hosts.toml, whether it is there or not."""
    base = environ.get("XDG_CONFIG_HOME") or expanded("~/.config")
    return Path(base) / "fleet" / "hosts.toml"


def state_directory(environ: Mapping[str, str]) -> Path:
    """What outlives a boot: the tokens, and what the last listing showed."""
    if given := environ.get("STATE_DIRECTORY"):  # systemd.exec(5); of several the first
        return Path(given.split(":")[0])
    return Path(environ.get("XDG_STATE_HOME") or expanded("~/.local/state")) / "fleet"


def cache_directory(environ: Mapping[str, str]) -> Path:
    """What can be made again: wheels of the agent's requirements."""
    if given := environ.get("CACHE_DIRECTORY"):  # systemd.exec(5)
        return Path(given.split(":")[0])
    return Path(environ.get("XDG_CACHE_HOME") or expanded("~/.cache")) / "fleet"


def wheels_directory(environ: Mapping[str, str]) -> Path:
    """Where wheels may lie that somebody brought here by hand: `$FLEET_WHEELS`, else beside hosts.toml."""
    if given := environ.get("FLEET_WHEELS"):
        return expanded(given)
    return Path(environ.get("XDG_CONFIG_HOME") or expanded("~/.config")) / "fleet" / "wheels"


def runtime_directory(environ: Mapping[str, str]) -> Path:
    """What ends with the boot: the daemon's socket and lock. `$FLEET_RUNTIME_DIR` names another one."""
    if given := environ.get("FLEET_RUNTIME_DIR"):
        return expanded(given)
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    base = environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "fleet" if base and Path(base).is_dir() else state_directory(environ) / "run"


def socket_path(environ: Mapping[str, str]) -> Path:
    """The daemon's socket."""
    return runtime_directory(environ) / "fleet.sock"


def lock_path(environ: Mapping[str, str]) -> Path:
    """Held by the one daemon of this runtime directory."""
    return runtime_directory(environ) / "daemon.lock"


def token_path(environ: Mapping[str, str]) -> Path:
    """What a client of `--listen` has to show."""
    return state_directory(environ) / "token"


def control_token_path(environ: Mapping[str, str]) -> Path:
    """What a client of `--listen` has to show that starts, answers or stops sessions."""
    return state_directory(environ) / "control-token"


def listing_path(environ: Mapping[str, str]) -> Path:
    """What the numbers of the last listing mean."""
    return state_directory(environ) / "listing.json"


def fits_a_socket(path: Path) -> bool:
    """Whether the system takes so long a path for a socket."""
    return len(os.fsencode(path)) <= _MAX_SOCKET_BYTES
