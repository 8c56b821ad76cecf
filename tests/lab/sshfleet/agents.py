"""The real agent on lab hosts."""

import shlex
import sys
from pathlib import Path

from lab.sshfleet.fleet import SshFleet


def install_agent(fleet: SshFleet, *names: str) -> list[Path]:
    """Put `fleet-agent` into ~/.local/bin of these hosts (all, if none named), one of its known install places.

    It runs the agent of this checkout with this interpreter. Returns the files, in the order of the hosts.
    """
    return [_install(fleet.home(name)) for name in names or fleet.hosts]


def _install(home: Path) -> Path:
    agent = home / ".local/bin/fleet-agent"
    agent.parent.mkdir(parents=True, exist_ok=True)
    agent.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fleet_agent "$@"\n')
    agent.chmod(0o755)
    return agent
