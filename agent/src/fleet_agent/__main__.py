"""The agent's command line: `fleet-agent snapshot` and `fleet-agent stream`."""

import argparse
import math
import os
import sys
from collections.abc import Sequence

from fleet_agent import __version__, encode, machine, stream
from fleet_agent.scan import Scanner
from fleet_agent.tools import PRIVACIES, tools

_STDIN, _STDOUT = 0, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A closed stdout is no error: whoever read it has had enough."""
    arguments = _parser().parse_args(argv)
    sys.dont_write_bytecode = True  # what is imported from here on: the agent writes nothing
    try:
        scanner = Scanner(tools(arguments.privacy))
        if arguments.verb == "snapshot":
            _snapshot(scanner)
        else:
            _stream(scanner, arguments.interval)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _snapshot(scanner: Scanner) -> None:
    _write(encode.line(machine.hello()))
    for line in encode.snapshot_lines(scanner.scan(), seq=1):
        _write(line)


def _stream(scanner: Scanner, interval_s: float) -> None:
    os.nice(stream.NICENESS)
    commands = stream.Commands(_STDIN)
    stream.run(machine.hello(), scanner.scan, _write, commands.wait, interval_s)


def _write(data: bytes) -> None:
    stream.write_all(_STDOUT, data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleet-agent",
        description="Prints the coding-agent sessions of this machine as NDJSON. It only reads.",
    )
    parser.add_argument("--version", action="version", version=f"fleet-agent {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("snapshot", help="one reading, then exit")
    many = verbs.add_parser("stream", help="a reading whenever something changed, until stdin closes")
    for verb in (one, many):
        verb.add_argument(
            "--privacy",
            choices=PRIVACIES,
            default="meta",
            help="what may leave this machine: no text of a conversation, its first prompt as title, or text",
        )
    many.add_argument(
        "--interval", type=_interval, default=2.0, metavar="S", help="seconds between readings (2)"
    )
    return parser


def _interval(value: str) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{value} is not from 0.1 to 3600 seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
