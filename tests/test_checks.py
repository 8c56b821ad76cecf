"""fleet.checks: which step of a host fails first, and what mends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.checks import STEPS, Check, Probe, Status, failed, passed, probed
from fleet.errors import ErrorKind, HostError, Phase
from fleet.model import Reading
from fleet.text import FORBIDDEN
from fleet.views import checks as views
from fleet.views.lines import plain
from fleet_agent.wire import Hello, Problem, Session, Snapshot

K, P = ErrorKind, Phase
HELLO = Hello(schema=1, agent_version="0.1.0", python="3.12.1", user="dev", os="Linux")
NEW, OLD = (
    Probe("/usr/bin/python3 3.12.1", "/opt/fleet-agent fleet-agent 0.1.0"),
    Probe("/usr/bin/python3 3.8.10"),
)


def read(now: float = 100.0, **facts: object) -> Check:
    return passed("a", Reading(HELLO, Snapshot(1, now, **facts), 100.0, 0.0, 0.2), NEW)  # type: ignore[arg-type]


def error(kind: ErrorKind, phase: Phase) -> HostError:
    return HostError(kind, phase, "what happened", "run `ssh HOST`")


@pytest.mark.parametrize(
    ("kind", "phase", "step"),
    [
        (K.CONFIG, P.CONFIG, "config"),
        (K.UNREACHABLE, P.DNS, "resolve"),
        (K.UNREACHABLE, P.CONNECT, "tcp"),
        (K.TIMEOUT, P.CONNECT, "tcp"),
        (K.TIMEOUT, P.AUTH, "ssh"),
        (K.REFUSED, P.AUTH, "ssh"),
        (K.HOST_KEY, P.AUTH, "host_key"),
        (K.AUTH, P.AUTH, "auth"),
        (K.AGENT_MISSING, P.HELLO, "agent"),
        (K.AGENT_FAILED, P.HELLO, "hello"),
        (K.SCHEMA, P.HELLO, "hello"),
        (K.BAD_OUTPUT, P.SNAPSHOT, "snapshot"),
        (K.DISCONNECTED, P.SNAPSHOT, "snapshot"),
    ],
)
def test_an_error_is_that_of_one_step(kind: ErrorKind, phase: Phase, step: str) -> None:
    """Those before it went well, those behind it were not tried; the hint names the host."""
    check = failed("gpu01", error(kind, phase), NEW)
    assert check.failed is not None
    assert (check.failed.name, check.failed.hint) == (step, "run `ssh gpu01`")
    at = STEPS.index(step)
    assert {s.status for s in check.steps[:at]} <= {Status.OK}
    assert {s.status for s in check.steps[at + 1 :]} <= {Status.SKIPPED}


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("phase", Phase)
def test_every_error_has_a_step(kind: ErrorKind, phase: Phase) -> None:
    """No kind and no phase is left out, with or without a probe, here or elsewhere."""
    for probe in (None, NEW, OLD):
        for is_local in (False, True):
            check = failed("a", error(kind, phase), probe, is_local=is_local)
            assert check.failed is not None
            assert [step.name for step in check.steps] == list(STEPS)


@pytest.mark.parametrize(("probe", "words"), [(Probe(), "no python3"), (OLD, "needs 3.10")])
def test_a_missing_agent_is_explained_by_its_python(probe: Probe, words: str) -> None:
    """Where python is missing or too old, that is what has to be mended first."""
    first = failed("a", error(K.AGENT_MISSING, P.HELLO), probe).failed
    assert first is not None
    assert (first.name, first.hint) == ("python", "install python3 3.10 or newer there")
    assert words in first.note


def test_a_host_that_works() -> None:
    """Every step is ok, with what was found."""
    check = read(sessions=(Session("codex", "1"), Session("codex", "2"), Session("odd", "3")))
    assert {step.status for step in check.steps} == {Status.OK}
    assert check.step("python").note == "/usr/bin/python3 3.12.1"
    assert check.step("tools").note == "codex 2, unknown 1"


@pytest.mark.parametrize(
    ("check", "step", "words"),
    [
        (read(complete=False), "tools", "not every process"),
        (read(problems=(Problem("unreadable", "cannot be read", "/x"),)), "tools", "cannot be read"),
        (read(now=400.0), "clock", "300 s ahead of"),
        (read(now=40.0), "clock", "60 s behind"),
    ],
)
def test_what_is_odd_is_a_warning(check: Check, step: str, words: str) -> None:
    """The host is read all the same."""
    assert check.failed is None
    assert check.step(step).status is Status.WARNING
    assert words in check.step(step).note


@given(st.binary(max_size=400))
def test_a_probe_believes_nothing(output: bytes) -> None:
    """Whatever a host prints, what is kept of it is short and safe to print."""
    for raw in (output, b"python=" + output + b"\nprobed=yes\n", b"agent=" + output + b"\nprobed=yes"):
        probe = probed(raw)
        if probe is not None:
            assert not FORBIDDEN.search(probe.python + probe.agent)
            assert len(probe.python) <= 200
            assert probe.python_version is None or probe.python_version < (10_000, 10_000)


def test_the_table_names_the_step_and_the_fix_once() -> None:
    """Hosts with the same trouble share its explanation; no table line is wider than the window."""
    same = error(K.AUTH, P.AUTH)
    checks = [read(), failed("gpu01", same, None), failed("gpu02", same, None)]
    lines = [plain(line) for line in views.table(checks, 60)]
    assert all(len(line) <= 60 for line in lines)
    text = "\n".join(lines)
    assert "1 of 3 hosts work; failed: 2 auth" in text
    shared = failed("gpu01", HostError(K.AUTH, P.AUTH, "denied", "mend"), None)
    twice = [shared, failed("gpu02", HostError(K.AUTH, P.AUTH, "denied", "mend"), None)]
    assert "gpu[01-02]: auth: denied" in [plain(line) for line in views.table(twice, 80)]


def test_the_steps_of_one_host_say_all() -> None:
    """A line a step, the fix under what failed."""
    lines = [plain(line) for line in views.steps(failed("a", error(K.AUTH, P.AUTH), None), 80)]
    assert len(lines) == len(STEPS) + 1
    assert lines[5].split() == ["auth", "failed", "what", "happened"]
    assert lines[6].strip() == "fix: run `ssh a`"
