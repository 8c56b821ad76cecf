"""What the exit code says about the hosts."""

from fleet.cli.options import FailOn

# Of `fleet.errors.ExitCode`, which imports msgspec: a status that the daemon gives as JSON needs nothing of it.
_OK, _SOME_FAILED, _ALL_FAILED = 0, 4, 5


def exit_code(failed: int, hosts: int, fail_on: FailOn) -> int:
    """5 when every host failed, 4 when some did; `fail_on` all keeps the 5 only, none keeps neither."""
    if not failed or fail_on is FailOn.NONE:
        return _OK
    if failed == hosts:
        return _ALL_FAILED
    return _SOME_FAILED if fail_on is FailOn.ANY else _OK
