"""What the exit code says about the hosts."""

from fleet.cli.options import FailOn
from fleet.errors import ExitCode
from fleet.model import Fleet


def exit_code(fleet: Fleet, fail_on: FailOn) -> ExitCode:
    """5 when every host failed, 4 when some did; `fail_on` all keeps the 5 only, none keeps neither."""
    failed = [host for host in fleet.hosts.values() if host.error]
    if not failed or fail_on is FailOn.NONE:
        return ExitCode.OK
    if len(failed) == len(fleet.hosts):
        return ExitCode.ALL_HOSTS_FAILED
    return ExitCode.SOME_HOSTS_FAILED if fail_on is FailOn.ANY else ExitCode.OK
