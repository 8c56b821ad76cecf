"""fleet.errors: the words and codes of the contract."""

from fleet.errors import ConfigError, ErrorKind, ExitCode, FleetError, HostFailure, Phase, UsageError


def test_the_words_of_the_contract_do_not_change() -> None:
    """Scripts match on kinds, phases and exit codes: they are only ever added to."""
    assert {k.value for k in ErrorKind} >= {
        "config", "host_key", "auth", "timeout", "unreachable", "refused", "agent_missing", "agent_failed",
        "bad_output", "schema", "disconnected", "internal",
    }  # fmt: skip
    assert [p.value for p in Phase] == [
        "config", "dns", "connect", "auth", "install", "hello", "snapshot", "idle",
    ]  # fmt: skip
    assert {c.name: int(c) for c in ExitCode} == {
        "OK": 0, "INTERNAL": 1, "USAGE": 2, "REFUSED": 3, "SOME_HOSTS_FAILED": 4, "ALL_HOSTS_FAILED": 5,
        "DAEMON": 6, "INTERRUPTED": 130,
    }  # fmt: skip


def test_a_failure_reads_as_one_line_and_carries_the_error() -> None:
    """A HostFailure in a log says kind, phase and message; its data is the HostError."""
    failure = HostFailure(ErrorKind.TIMEOUT, Phase.CONNECT, "no answer within 5 s", "look")
    assert str(failure) == "timeout (connect): no answer within 5 s"
    assert failure.error.hint == "look"


def test_what_a_user_can_mend_exits_with_2() -> None:
    """Configuration and usage errors are of one kind to the shell."""
    assert all(issubclass(e, FleetError) and e.exit_code == 2 for e in (ConfigError, UsageError))
