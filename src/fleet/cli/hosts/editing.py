"""What the verbs that change hosts.toml share: which file, replacing it, and telling the daemon."""

import os
from collections.abc import Callable
from pathlib import Path

from fleet import files, paths
from fleet.cli.daemon_client import told_if_running
from fleet.client import NoDaemon
from fleet.config import Config
from fleet.errors import ConfigError, FleetError

Edit = Callable[[str, Path], tuple[str, Config]]


def edited_file(config: Path | None) -> Path:
    """The hosts.toml in force; where there is none yet, the user's own."""
    return config or paths.config_file(os.environ) or paths.user_config_file(os.environ)


def edit(path: Path, change: Edit) -> Config:
    """Change the file: whole or not at all, and only to what `fleet.config` accepts. Raises `FleetError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.held(path.parent):
            text = path.read_text("utf-8") if path.exists() else ""
            changed, accepted = change(text, path)
            files.replace(path, changed)
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not TOML: {exc}") from None
    except OSError as exc:
        reason = f"{exc.strerror}: {exc.filename}" if exc.filename else exc.strerror
        raise ConfigError(f"{path}: cannot be changed: {reason}; name another file with --config") from None
    return accepted


def told_to_reload(path: Path) -> str | None:
    """Have the daemon that runs with this file read it again. What came of it; None if no daemon runs."""
    try:
        known = told_if_running("GET", "/v1/daemon")
        if known["config"] not in (None, str(path.absolute())):
            return f"the daemon runs with {known['config']} and was not told"
        return f"the daemon follows {told_if_running('POST', '/v1/reload')['hosts']} hosts now"
    except NoDaemon:
        return None
    except FleetError as exc:
        return f"the daemon did not take it: {exc}"
    except (ValueError, KeyError, TypeError):
        return "a daemon runs that fleet does not understand; restart it"


def told_to_retry(name: str) -> bool:
    """Have a running daemon connect to a host now, not after its back-off. Whether one does."""
    try:
        told_if_running("POST", f"/v1/hosts/{name}/retry")
    except (NoDaemon, FleetError):
        return False
    return True
