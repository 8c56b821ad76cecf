"""What `fleet hosts check` finds out about a host: one step after another, each with what mends it. Pure.

    config     hosts.toml and ssh_config, key files
    resolve    name -> address
    tcp        the connection
    ssh        banner, key exchange; the login's time
    host_key   is it the one in known_hosts?
    auth       the login
    python     which python3 a command finds there
    agent      is there a fleet-agent to run, and which?
    hello      its first line
    snapshot   one whole reading
    tools      what it saw, and whether it could see everything
    clock      how far its clock is off

A step that fails hides those behind it (`skipped`), but for `python`, which explains a missing agent.
"""

import enum
import re
from collections import Counter
from collections.abc import Iterator

import msgspec

from fleet.errors import ErrorKind, HostError, Phase
from fleet.launch import OLDEST_PYTHON
from fleet.model import Reading
from fleet.text import clean_bytes
from fleet_agent.wire import TOOLS, known

STEPS = (
    "config",
    "resolve",
    "tcp",
    "ssh",
    "host_key",
    "auth",
    "python",
    "agent",
    "hello",
    "snapshot",
    "tools",
    "clock",
)
CLOCK_OFF_S = 2.0  # less is the time that a reading takes
_LOGGED_IN = STEPS.index("python")
_BY_KIND = {
    ErrorKind.CONFIG: "config",
    ErrorKind.HOST_KEY: "host_key",
    ErrorKind.AUTH: "auth",
    ErrorKind.AGENT_MISSING: "agent",
}
_BY_PHASE = {
    Phase.CONFIG: "config",
    Phase.DNS: "resolve",
    Phase.CONNECT: "tcp",
    Phase.AUTH: "ssh",
    Phase.HELLO: "hello",
    Phase.SNAPSHOT: "snapshot",
    Phase.IDLE: "snapshot",
}
_MAX_PROBE_CHARS = 200  # of one value
_PROBED = re.compile(rb"(python|agent|shipped|probed)=([^\r\n]*)")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\w{1,20})?$")


class Status(enum.StrEnum):
    """How a step went. The words are part of the JSON contract."""

    OK = "ok"
    WARNING = "warning"  # the host is read all the same
    FAILED = "failed"
    SKIPPED = "skipped"


class Step(msgspec.Struct, frozen=True):
    """One step: `note` says what was found, `hint` what mends it."""

    name: str
    status: Status
    note: str = ""
    hint: str = ""


class Check(msgspec.Struct, frozen=True):
    """All steps of one host, in the order of `STEPS`; `error` is why it could not be read."""

    host: str
    steps: tuple[Step, ...]
    error: HostError | None = None

    @property
    def failed(self) -> Step | None:
        """The first step that failed."""
        return next((step for step in self.steps if step.status is Status.FAILED), None)

    def step(self, name: str) -> Step:
        """The step of that name."""
        return self.steps[STEPS.index(name)]


class Probe(msgspec.Struct, frozen=True):
    """What the probe said: path and version of each, "" where there is none.

    `agent` is an installed one; `shipped`, a version only, the one that fleet has put there and prefers.
    """

    python: str = ""
    agent: str = ""
    shipped: str = ""

    @property
    def running(self) -> str:
        """The agent that a reading starts, in words."""
        return f"{self.shipped} (shipped)" if self.shipped else self.agent

    @property
    def python_version(self) -> tuple[int, int] | None:
        """Major and minor version, if it told them."""
        found = _VERSION.search(self.python)
        return (int(found[1]), int(found[2])) if found else None


def probed(output: bytes) -> Probe | None:
    """What `fleet.launch.probe_command` printed, of which nothing is believed but its form; None if cut short.

    >>> probed(b"motd\\npython=/usr/bin/python3 3.11.2\\nprobed=yes\\n").python
    '/usr/bin/python3 3.11.2'
    """
    values = {match[1]: match[2] for line in output.split(b"\n") if (match := _PROBED.fullmatch(line))}
    if b"probed" not in values:
        return None
    found = (clean_bytes(values.get(key, b""), _MAX_PROBE_CHARS) for key in (b"python", b"agent", b"shipped"))
    return Probe(*found)


def passed(host: str, reading: Reading, probe: Probe | None, *, is_local: bool = False) -> Check:
    """The check of a host that was read."""
    how = (Status.SKIPPED, "this machine") if is_local else (Status.OK, "")
    before = [Step(name, Status.OK if name == "config" else how[0], how[1]) for name in STEPS[:_LOGGED_IN]]
    return Check(host, (*before, *_read(reading, probe)))


def failed(host: str, error: HostError, probe: Probe | None, *, is_local: bool = False) -> Check:
    """The check of a host that could not be read."""
    at = STEPS.index(_step_of(error))
    hint = error.hint.replace("HOST", host)
    steps = [Step(name, Status.OK if i < at else Status.SKIPPED) for i, name in enumerate(STEPS)]
    if at > _LOGGED_IN:
        steps[_LOGGED_IN] = _python(probe, "", is_missing=error.kind is ErrorKind.AGENT_MISSING)
        if at > STEPS.index("agent"):
            steps[STEPS.index("agent")] = Step("agent", Status.OK, probe.running if probe else "")
    if is_local:
        steps[1:_LOGGED_IN] = [Step(name, Status.SKIPPED, "this machine") for name in STEPS[1:_LOGGED_IN]]
    steps[at] = Step(STEPS[at], Status.FAILED, error.message, hint)
    return Check(host, tuple(steps), error)


def _step_of(error: HostError) -> str:
    return _BY_KIND.get(error.kind) or _BY_PHASE.get(error.phase, "agent")


def _read(reading: Reading, probe: Probe | None) -> Iterator[Step]:
    hello = reading.hello
    version = f"fleet-agent {hello.agent_version}"
    yield _python(probe, hello.python, is_missing=False)
    yield Step("agent", Status.OK, probe.running if probe and version in probe.running else version)
    yield Step("hello", Status.OK, " ".join(filter(None, (hello.user, hello.os))))
    yield Step("snapshot", Status.OK, f"in {reading.elapsed_s:.2f} s")
    yield _tools(reading)
    yield _clock(reading.skew_s)


def _python(probe: Probe | None, running: str, *, is_missing: bool) -> Step:
    """`running`: the version that runs the agent; `is_missing`: there is no agent, so python matters."""
    if running:
        found = probe.python if probe and probe.python.endswith(f" {running}") else f"{running} runs the agent"
        return Step("python", Status.OK, found)
    if probe is None:
        return Step("python", Status.SKIPPED, "its shell did not answer the question")
    wrong = Status.FAILED if is_missing else Status.WARNING
    hint = f"install python3 {_dotted(OLDEST_PYTHON)} or newer there"
    if not probe.python:
        return Step("python", wrong, "no python3 on the PATH of a non-interactive shell", hint)
    if probe.python_version is None or probe.python_version < OLDEST_PYTHON:
        return Step("python", wrong, f"{probe.python}: fleet-agent needs {_dotted(OLDEST_PYTHON)}", hint)
    return Step("python", Status.OK, probe.python)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _tools(reading: Reading) -> Step:
    snapshot = reading.snapshot
    counts = Counter(known(session.tool, TOOLS) for session in snapshot.sessions)
    found = ", ".join(f"{tool} {count}" for tool, count in sorted(counts.items())) or "no session"
    if not snapshot.complete:
        hint = "log in as the user whose sessions you want to see, or as root"
        return Step("tools", Status.WARNING, f"{found}; not every process could be looked into", hint)
    if snapshot.problems:
        first = snapshot.problems[0]
        note = f"{found}; {len(snapshot.problems)} problem(s), the first: {first.message}"
        return Step("tools", Status.WARNING, note, first.path or "")
    return Step("tools", Status.OK, found)


def _clock(skew_s: float) -> Step:
    if abs(skew_s) < CLOCK_OFF_S:
        return Step("clock", Status.OK)
    direction = "ahead of" if skew_s > 0 else "behind"
    note = f"{abs(skew_s):.0f} s {direction} this machine's"
    return Step("clock", Status.WARNING, note, "ages are right all the same; `timedatectl` there tells of NTP")
