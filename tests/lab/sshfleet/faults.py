"""The faults that a lab host can have: who plays each one, and what a client sees. Pure data."""

from enum import Enum
from typing import NamedTuple

import msgspec

from fleet_agent import wire


class By(Enum):
    """Who plays a fault."""

    NOBODY = "nobody listens"
    FAULTD = "faultd alone, below SSH"
    LINK = "faultd in front of a real sshd"
    SSHD = "a real sshd, with a forced command or a setting of its own"


class Fault(NamedTuple):
    """One way to be broken. `script` is the shell body of the forced command, if there is one.

    In a script `hello` prints a good first line of an agent, `snapshot` a good, empty snapshot after it.
    """

    by: By
    sees: str
    script: str | None = None


_HELLO = msgspec.json.encode(wire.Hello(schema=wire.SCHEMA, agent_version="lab", hostname="HOST")).decode()
_SNAPSHOT = msgspec.json.encode(wire.Snapshot(seq=1, now=1.0)).decode()
_PART = msgspec.json.encode(wire.Snapshot(seq=1, now=1.0, more=True)).decode()
_FUTURE = msgspec.json.encode(wire.Hello(schema=999, agent_version="99.0", hostname="HOST")).decode()

_FOR_EVER = "while :; do sleep 3600; done\n"
_THE_COMMAND = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'

PRELUDE = f"""\
say() {{ printf '%s\\n' "$1" | sed "s/HOST/$SSHFLEET_HOST/"; }}
hello() {{ say '{_HELLO}'; }}
snapshot() {{ say '{_SNAPSHOT}'; }}
"""

FAULTS: dict[str, Fault] = {
    # before SSH
    "refused": Fault(By.NOBODY, "nothing listens: connection refused"),
    "blackhole": Fault(By.FAULTD, "accepts TCP, never says a byte"),
    "synhole": Fault(By.FAULTD, "the accept queue is full: the TCP connect itself hangs"),
    "reset": Fault(By.FAULTD, "accepts TCP, resets it at once"),
    "not-ssh": Fault(By.FAULTD, "answers with an HTTP error page"),
    # SSH, before authentication
    "banner-only": Fault(By.FAULTD, "the version line of an SSH server, and not another byte"),
    "slow-banner": Fault(By.LINK, "a real host whose first byte comes after slow_s seconds"),
    "drip-banner": Fault(By.LINK, "the version line comes one byte per second"),
    "wrong-host-key": Fault(By.SSHD, "a real host with another host key than known_hosts says"),
    "auth-failure": Fault(By.SSHD, "accepts no key"),
    # SSH works, the command does not
    "command-missing": Fault(
        By.SSHD,
        "any command: 'not found' on stderr, exit status 127",
        'echo "sh: 1: ${SSH_ORIGINAL_COMMAND%% *}: not found" >&2\nexit 127\n',
    ),
    "no-shell": Fault(
        By.SSHD,
        "any command: a polite refusal on stdout, exit status 1",
        "echo 'This account is currently not available.'\nexit 1\n",
    ),
    "crash": Fault(
        By.SSHD,
        "any command: a Python traceback on stderr, exit status 3",
        "cat >&2 <<'END'\n"
        "Traceback (most recent call last):\n"
        '  File "fleet_agent/__main__.py", line 1, in <module>\n'
        "    raise MemoryError('lab')\n"
        "MemoryError: lab\n"
        "END\nexit 3\n",
    ),
    "noise": Fault(
        By.SSHD,
        "a chatty shell: prints three lines, then runs the command",
        "echo 'Welcome to Debian GNU/Linux'\necho '{\"motd\": true'\necho\n" + _THE_COMMAND,
    ),
    "garbage": Fault(
        By.SSHD,
        "4 KiB of binary garbage and half-valid JSON, exit status 0",
        "head -c 2048 /dev/urandom\n"
        'printf \'\\n{"hello": tru\\n[1,2\\n\\377\\376{}\\n\\0\\0\\n"\\\\ud800"\\n\'\n'
        "head -c 2048 /dev/urandom\nexit 0\n",
    ),
    "silent": Fault(By.SSHD, "exits 0 at once with no output", "exit 0\n"),
    "hang": Fault(By.SSHD, "never prints, never exits, ignores EOF", "trap '' HUP PIPE\n" + _FOR_EVER),
    "stubborn": Fault(
        By.SSHD,
        "runs the command, and a child that ignores HUP, TERM and EOF",
        "( trap '' HUP TERM PIPE INT; while :; do sleep 3600; done ) </dev/null &\n" + _THE_COMMAND,
    ),
    # the command is an agent, and a bad one
    "schema": Fault(By.SSHD, "a hello of schema 999, exit status 0", f"say '{_FUTURE}'\nexit 0\n"),
    "hello-only": Fault(By.SSHD, "a good hello, then nothing, for ever", "hello\n" + _FOR_EVER),
    "stall": Fault(By.SSHD, "hello, one snapshot, then nothing, for ever", "hello\nsnapshot\n" + _FOR_EVER),
    "endless-lines": Fault(By.SSHD, "lines that are no hello, for ever", "exec yes '{\"motd\":1}'\n"),
    "endless-line": Fault(
        By.SSHD,
        "hello, then one line that never ends",
        "hello\nprintf '{\"a\":\"'\nexec tr '\\0' x </dev/zero\n",
    ),
    "endless-snapshot": Fault(
        By.SSHD, "hello, then parts of one snapshot, for ever", f"hello\nexec yes '{_PART}'\n"
    ),
    "stderr-flood": Fault(
        By.SSHD, "hello, then stderr, for ever", "hello\nexec yes 'Traceback (most recent call last):' >&2\n"
    ),
    "die-midline": Fault(
        By.SSHD,
        "hello, half a snapshot, then SIGKILL",
        'hello\nprintf \'{"type":"snap\'\nkill -KILL $$\n',
    ),
    # $PPID is the sshd that serves this session (its parent, run as root, serves root)
    "drop-midline": Fault(
        By.SSHD,
        "the same, but the whole connection dies",
        'hello\nprintf \'{"type":"snap\'\nsleep 0.2\nkill -KILL $PPID\nsleep 5\n',
    ),
    # the network
    "link": Fault(By.LINK, "a real host behind a link: delay, cut, heal at will"),
}
