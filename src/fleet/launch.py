"""How the agent is started on a host: the command line that is sent over SSH. Pure.

PATH of a non-interactive shell is the commonest reason why a remote helper "is not installed", so it is asked
last: first the configured `agent_command`, then the places where pip, pipx, uv and packages install, then PATH.
"""

import shlex
import sys

from fleet.config import HostSpec

KNOWN_PLACES = (
    "$HOME/.local/bin/fleet-agent",
    "/usr/local/bin/fleet-agent",
    "/opt/fleet/bin/fleet-agent",
    "/opt/homebrew/bin/fleet-agent",
    "/usr/bin/fleet-agent",
)
NOT_FOUND = 127  # what a shell exits with for a command that it does not find
NOT_EXECUTABLE = 126

# Run by /bin/sh whatever the login shell is: no single quote, backslash or exclamation mark inside, so that
# bash, zsh, fish and csh all hand it on unchanged.
_SEARCH = (
    'for f in {places}; do if [ -x "$f" ]; then exec "$f" {args}; fi; done; '
    "if command -v fleet-agent >/dev/null; then exec fleet-agent {args}; fi; "
    "echo fleet-agent: not found >&2; exit 127"
)


def snapshot_arguments(spec: HostSpec) -> tuple[str, ...]:
    """One reading, then exit."""
    return ("snapshot", "--privacy", spec.privacy)


def stream_arguments(spec: HostSpec, interval_s: float | None = None) -> tuple[str, ...]:
    """Readings for as long as the connection lives."""
    return ("stream", "--interval", f"{interval_s or spec.interval_s:g}", "--privacy", spec.privacy)


def remote_command(spec: HostSpec, arguments: tuple[str, ...]) -> str:
    """The command for the user's login shell on the host."""
    if spec.agent_command:
        return f"exec {spec.agent_command} {shlex.join(arguments)}"
    script = _SEARCH.format(places=" ".join(f'"{p}"' for p in KNOWN_PLACES), args=" ".join(arguments))
    return f"exec /bin/sh -c '{script}'"


def local_command(spec: HostSpec, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The argv for this machine: the agent that is installed beside fleet, unless another is configured."""
    if spec.agent_command:
        return (*shlex.split(spec.agent_command), *arguments)
    return (sys.executable, "-P", "-m", "fleet_agent", *arguments)
