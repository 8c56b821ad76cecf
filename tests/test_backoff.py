"""fleet.backoff: how long a failed host is left alone."""

import math
import random

import pytest

from fleet.backoff import JITTER, LIMITS_S, delay_s
from fleet.errors import ErrorKind


def test_every_kind_has_limits() -> None:
    """No kind of error is retried without a limit."""
    assert set(LIMITS_S) == set(ErrorKind)


@pytest.mark.parametrize("kind", [ErrorKind.AUTH, ErrorKind.HOST_KEY])
def test_refused_logins_do_not_lock_the_user_out(kind: ErrorKind) -> None:
    """Auth and host-key failures wait at least 60 s: at most 15 attempts an hour and host (PROMISES 14)."""
    chance = random.Random(1)
    for _host in range(100):
        clock_s, attempts = 0.0, 0
        while clock_s < 3600:
            attempts += 1
            wait_s = delay_s(kind, attempts, chance.random())
            assert wait_s >= 60
            clock_s += wait_s
        assert attempts <= 15


def test_delays_double_up_to_the_most_and_jitter_only_adds() -> None:
    """1, 2, 4 ... 60 s for a host that does not answer, plus at most half."""
    bare = [delay_s(ErrorKind.TIMEOUT, n, 0.0) for n in range(1, 9)]
    assert bare == [1, 2, 4, 8, 16, 32, 60, 60]
    assert delay_s(ErrorKind.TIMEOUT, 3, 0.999) < 4 * (1 + JITTER)
    assert delay_s(ErrorKind.TIMEOUT, 10_000, 0.0) == 60


def test_a_wrong_configuration_is_never_retried() -> None:
    """Nothing changes until the configuration does."""
    assert delay_s(ErrorKind.CONFIG, 1, 0.5) == math.inf
