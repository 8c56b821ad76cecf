"""How long to leave a host alone after it failed. Pure.

By kind of error, because retrying costs differ: a refused login hammered every second gets the user locked out
(OpenSSH's PerSourcePenalties, fail2ban), while a host that reboots should be back within seconds.
"""

import math

from fleet.errors import ErrorKind

# kind -> (seconds after the first failure, most seconds between attempts); doubled from one to the other
LIMITS_S: dict[ErrorKind, tuple[float, float]] = {
    ErrorKind.CONFIG: (math.inf, math.inf),  # never, until the configuration is read again
    ErrorKind.HOST_KEY: (60, 900),
    ErrorKind.AUTH: (60, 900),
    ErrorKind.TIMEOUT: (1, 60),
    ErrorKind.UNREACHABLE: (1, 60),
    ErrorKind.REFUSED: (5, 300),
    ErrorKind.AGENT_MISSING: (300, 300),
    ErrorKind.AGENT_FAILED: (5, 300),
    ErrorKind.BAD_OUTPUT: (30, 300),
    ErrorKind.SCHEMA: (300, 300),
    ErrorKind.DISCONNECTED: (1, 60),
    ErrorKind.INTERNAL: (300, 300),
}
JITTER = 0.5  # up to this share is added, so that hosts that failed together do not return together


def delay_s(kind: ErrorKind, attempts: int, random: float) -> float:
    """Seconds to wait after the `attempts`-th failure in a row (1 is the first); `random` is in [0, 1).

    Never less than the kind's first delay: jitter only adds. `math.inf` means never.
    """
    first_s, most_s = LIMITS_S[kind]
    doubled_s = first_s * 2.0 ** min(max(attempts, 1) - 1, 32)
    return min(most_s, doubled_s) * (1 + JITTER * random)
