"""How the agent is started on a host: the command line that is sent over SSH. Pure.

PATH of a non-interactive shell is the commonest reason why a remote helper "is not installed", so it is asked
last: first the configured `agent_command`, then the agent that fleet has shipped there itself, then the places
where pip, pipx, uv and packages install, then PATH. A host that has none of them says which Pythons it has, so
that an agent for it can be shipped at once.
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
OLDEST_PYTHON = (3, 10)
# Where a Python is looked for. The system's own comes first: `python3` on PATH may be a shim of pyenv, which
# takes 0.1 s to start one.
PYTHONS = (
    "/usr/bin/python3",
    "python3",
    *(f"python3.{minor}" for minor in range(14, OLDEST_PYTHON[1] - 1, -1)),
)
REPORT_MARK = "fleet-probe"

# Run by /bin/sh whatever the login shell is: no single quote, backslash or exclamation mark inside, so that
# bash, zsh, fish and csh all hand it on unchanged. The arguments come after the script, never in it: there
# `fleet-agent serve`, the forced command of a restricted key, finds them in SSH_ORIGINAL_COMMAND.
_PLACES = " ".join(f'"{place}"' for place in KNOWN_PLACES)
_SEARCH = (
    f'for f in {_PLACES}; do if [ -x "$f" ]; then exec "$f" "$@"; fi; done; '
    'if command -v fleet-agent >/dev/null; then exec fleet-agent "$@"; fi; '
)
_MISSING = "echo fleet-agent: not found >&2; exit 127"
_CACHE = '"${XDG_CACHE_HOME:-$HOME/.cache}"/fleet'
# What is done with the shipped agent of this very fleet, for such a machine, with its Python still there.
_SHIPPED = (
    f'c={_CACHE}/agent; if [ -d "$c" ]; then for d in "$c"/@BUNDLE@-$(uname -m)-*; do '
    'if [ -O "$d" ] && [ -x "$d/python" ]; then @THEN@; fi; done; fi; '
)
_RUN = 'exec "$d/python" -ISB "$d" "$@"'
_SAY = 'echo "shipped=$("$d/python" -ISB "$d" --version 2>/dev/null)"; break'
_PATH = "PATH=$PATH:/usr/local/bin:/opt/homebrew/bin:$HOME/.local/bin"
_ASK_PYTHON = (  # not one string literal in it: there is no quote left to write one with
    "import sys,platform as p;print(*sys.argv[1:],sys.implementation.name,*sys.version_info[:3],sys.abiflags,"
    "sys.maxsize.bit_length()+1,sys.platform,p.machine(),p.mac_ver()[0],*p.libc_ver(),sep=chr(9));"
    f"sys.exit(sys.version_info<({OLDEST_PYTHON[0]},{OLDEST_PYTHON[1]}))"
)
# On stderr: the system, and each Python up to the first that is new enough, for `fleet.bootstrap.probe`.
_REPORT = (
    f"{_PATH}; echo {REPORT_MARK} $(uname -sm) >&2; for p in {' '.join(PYTHONS)}; do "
    f'command -v $p >/dev/null && $p -IS -c "{_ASK_PYTHON}" {REPORT_MARK} $p >&2 2>/dev/null && break; done; '
)
# Which python3 and which installed agent a command finds there: a line each, which `fleet.checks` reads.
_PROBE = (
    "p=$(command -v python3) && "
    'echo "python=$p $("$p" -c "import platform; print(platform.python_version())" 2>/dev/null)"; '
    f'for f in {_PLACES} "$(command -v fleet-agent)"; do if [ -x "$f" ]; then '
    'echo "agent=$f $("$f" --version 2>/dev/null)"; break; fi; done; '
)
# A shipped agent becomes an installed one: a copy that no later release takes away, in the first known place.
KEPT_AGENT = "~/.local/bin/fleet-agent"
KEPT_FILES = "~/.local/share/fleet-agent"
KEPT_LAUNCHER = b"""#!/bin/sh
exec "$HOME/.local/share/fleet-agent/python" -ISB "$HOME/.local/share/fleet-agent" "$@"
"""
_KEEP = (
    'if [ -z "$k" ]; then echo the shipped agent is gone >&2; exit 3; fi; umask 077; cd || exit; '
    "mkdir -p .local/share .local/bin && cd .local || exit; f=share/fleet-agent; b=bin/fleet-agent; "
    'trap "rm -rf $f.$$ $b.$$" EXIT; cp -RPp "$k" $f.$$ && cat > $b.$$ && chmod 700 $b.$$ || exit; '
    "rm -rf $f && mv $f.$$ $f && mv $b.$$ $b"
)
_FORGET = (
    'cd "$HOME"/.local 2>/dev/null && if grep -q share/fleet-agent/python bin/fleet-agent 2>/dev/null; then '
    "rm -rf bin/fleet-agent share/fleet-agent; fi; "
)
_REMOVE = f"cd {_CACHE} 2>/dev/null || exit 0; rm -rf agent && cd .. && {{ rmdir fleet 2>/dev/null; exit 0; }}"


def snapshot_arguments(spec: HostSpec) -> tuple[str, ...]:
    """One reading, then exit."""
    return ("snapshot", "--privacy", spec.privacy)


def stream_arguments(spec: HostSpec, interval_s: float | None = None) -> tuple[str, ...]:
    """Readings for as long as the connection lives."""
    return ("stream", "--interval", f"{interval_s or spec.interval_s:g}", "--privacy", spec.privacy)


def control_arguments() -> tuple[str, ...]:
    """Requests on its stdin, for as long as that is open."""
    return ("control",)


def remote_command(spec: HostSpec, arguments: tuple[str, ...], bundle: str | None = None) -> str:
    """The command for the user's login shell on the host.

    `bundle` names the agent that fleet would ship there; with None only what is installed there is looked for.
    """
    if spec.agent_command:
        return f"exec {spec.agent_command} {shlex.join(arguments)}"
    script = _SEARCH
    if bundle is not None:
        script = _if_shipped(bundle, _RUN) + _SEARCH + _REPORT
    return f"exec /bin/sh -c '{script}{_MISSING}' fleet-agent {shlex.join(arguments)}"


def report_command() -> str:
    """Has a host say on stderr which Pythons it has."""
    return f"exec /bin/sh -c '{_REPORT}exit 0'"


def unpack_command(python: str, size: int) -> str:
    """Runs the program in the first `size` bytes of stdin, told where agents are unpacked."""
    assert python in PYTHONS  # it is no word of a host's
    program = f'"import sys;exec(sys.stdin.buffer.read({size}))"'
    return f"exec /bin/sh -c '{_PATH}; exec {python} -IS -c {program} {_CACHE}/agent'"


def keep_command(bundle: str) -> str:
    """Installs the shipped agent there for good. `KEPT_LAUNCHER` comes on stdin."""
    return f"exec /bin/sh -c 'k=; {_if_shipped(bundle, 'k=$d')}{_KEEP}'"


def remove_command() -> str:
    """Takes away every agent that fleet has shipped there, also one that was kept. There may be none."""
    return f"exec /bin/sh -c '{_FORGET}{_REMOVE}'"


def probe_command(bundle: str | None = None) -> str:
    """What tells which python3 and which agents are there, without starting the agent's work."""
    shipped = _if_shipped(bundle, _SAY) if bundle else ""
    return f"exec /bin/sh -c '{_PROBE}{shipped}echo probed=yes' fleet-agent probe"


def _if_shipped(bundle: str, then: str) -> str:
    return _SHIPPED.replace("@BUNDLE@", bundle).replace("@THEN@", then)


def local_command(spec: HostSpec, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The argv for this machine: the agent that is installed beside fleet, unless another is configured."""
    if spec.agent_command:
        return (*shlex.split(spec.agent_command), *arguments)
    return (sys.executable, "-P", "-m", "fleet_agent", *arguments)
