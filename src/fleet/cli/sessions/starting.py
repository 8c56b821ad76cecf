"""What `fleet run` does."""

import sys
from collections.abc import Sequence

import msgspec

from fleet.cli.sessions.session import end, on_hosts, troubles
from fleet.cli.sessions.way import Way
from fleet.cli.terminal import write
from fleet.control import verbs
from fleet.control.verbs import Answered
from fleet.errors import UsageError
from fleet.views.controlled import run_entry
from fleet_agent.control.wire import Name, Start


def started(hosts: Sequence[str], excludes: Sequence[str], way: Way, request: Start, *, json: bool) -> None:
    """Start it on each host; print the keys, one a line. Exits. Raises `FleetError`."""
    _check_name(request.name)
    answers = on_hosts(hosts, excludes, way, lambda reach, specs: verbs.start(reach, specs, request))
    entries = [run_entry(a.host, run, a.clock_at) for a in answers for run in a.runs]
    if json:
        said = {"started": entries, "errors": troubles(answers)}
        write(msgspec.json.format(msgspec.json.encode(said), indent=2) + b"\n")
    else:
        write("".join(f"{entry.key}\n" for entry in entries))
        sys.stderr.write(finished([answer for answer in answers if answer.runs]))  # how long it will stay, say
    end(answers, say=not json)


def _check_name(name: str | None) -> None:
    try:
        msgspec.convert(name, Name | None)
    except msgspec.ValidationError:
        raise UsageError(
            f"--name {name}: must be 1 to 64 letters (a-z, A-Z), digits, - and _, the first no - and no _"
        ) from None


def finished(answers: Sequence[Answered]) -> str:
    """What was done, in the hosts' words."""
    return "".join(f"{answer.host}: {answer.message}\n" for answer in answers if answer.message)
