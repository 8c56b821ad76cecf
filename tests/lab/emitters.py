"""Small "agents": scripts that speak the wire, for tests and benchmarks that want many hosts, or bad ones.

A steady one costs 3 MB and no process but itself, a tenth of the real agent. Each is written to a file, which a
host's `agent_command` names.
"""

from pathlib import Path

import msgspec

from fleet_agent.wire import SCHEMA, Hello

_HELLO = Hello(schema=SCHEMA, agent_version="lab", host_id="HOST", boot_id="1", hostname="HOST")

_START = r"""#!/bin/bash
host=${SSHFLEET_HOST:-local}
hello='HELLO'
seq=0 interval=2
while [ $# -gt 1 ]; do [ "$1" = --interval ] && interval=$2; shift; done
snapshot() {
  printf '{"type":"snapshot","seq":%d,"now":%s,"sessions":[%s]}\n' $((++seq)) "$EPOCHREALTIME" "$1"
}
session() { printf '{"tool":"codex","id":"%s","state":"%s","title":"%s"}' "$host-1" "$1" "$2"; }
heartbeat() { printf '{"type":"heartbeat","seq":%d,"now":%s}\n' $((++seq)) "$EPOCHREALTIME"; }
printf '%s\n' "${hello//HOST/$host}"
""".replace("'HELLO'", f"'{msgspec.json.encode(_HELLO).decode()}'")

# `read -t`: more than 128 when the time is up, 1 at EOF
_STEADY = r"""states=(idle working) code=0 turn=0
for ((tick = 0; ; tick++)); do
  if ((code == 0 || tick % EVERY == 0)); then
    ((code == 0)) || ((turn++))
    snapshot "$(session ${states[turn % 2]} $turn)"
  else
    heartbeat
  fi
  read -r -t "$interval" line && code=0 || code=$?
  ((code == 1)) && exit 0
done
"""


def steady(path: Path, *, changes_every: int = 5) -> Path:
    """A frame each interval: heartbeats, but for every so-manyth, in which its one session is another.

    The session is `HOST-1`; its title counts the changes. A line on stdin is answered with a snapshot; at its
    end the emitter ends.
    """
    return script(path, _STEADY.replace("EVERY", str(changes_every)))


def restless(path: Path, sessions: int, readings: int) -> Path:
    """So many sessions, all of them others at each of so many readings, at ten a second; then a steady one."""
    every = f"""for ((i = 0; i < {readings}; i++)); do
  line=; for ((j = 0; j < {sessions}; j++)); do line+=',{{"tool":"codex","id":"'$j'","title":"'$i'"}}'; done
  snapshot "${{line:1}}"; sleep 0.1
done
"""
    return script(path, every + _STEADY.replace("EVERY", "5"))


def script(path: Path, body: str) -> Path:
    """Any other: bash code that runs after the hello.

    `$host` and `$interval` are there, and `snapshot SESSIONS`, `session STATE TITLE`, `heartbeat`, which print.
    """
    path.write_text(_START + body)
    path.chmod(0o755)
    return path
