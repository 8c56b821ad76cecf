"""The agent's command line: `fleet-agent snapshot`, `stream`; `hooks` and `control`, which change the host."""

import gc

# Before all imports: nothing that they make is garbage, and looking for some again and again takes a fifth of
# their time. Nor does a reading leave much.
gc.set_threshold(50_000, 50, 100)

import sys

# msgspec takes three names from typing_extensions if it is there, else Python's own; with all that it imports
# itself, it takes a tenth of a snapshot's time.
_EXTENSIONS = "typing_extensions"
if _EXTENSIONS not in sys.modules:
    sys.modules[_EXTENSIONS] = None  # type: ignore[assignment]
    import msgspec  # noqa: F401

    del sys.modules[_EXTENSIONS]

import argparse
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from fleet_agent import __version__, encode, machine, stream
from fleet_agent.scan import Scanner
from fleet_agent.tools import PRIVACIES, tools

_STDIN, _STDOUT = 0, 1
REFUSED = 2  # as for a wrong command line
_CONTROL = ("control", "control-supervisor")
SNAPSHOT_GIT_WAIT_S = 1.0  # for all repositories together; what git has not told by then is not known


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. A closed stdout is no error: whoever read it has had enough."""
    arguments = _parser().parse_args(argv)
    if arguments.verb == "hooks":
        return _hooks(arguments)
    if arguments.verb in _CONTROL:
        return _control(arguments.verb)
    if arguments.verb == "serve":
        allowed = _served(arguments.privacy)
        if allowed is None:
            return REFUSED
        arguments = _parser().parse_args(allowed)
    sys.dont_write_bytecode = True  # what is imported from here on: the agent writes nothing
    if arguments.verb == "probe":
        print(machine.probe())
        return 0
    try:
        if arguments.verb == "snapshot":
            _snapshot(Scanner(tools(arguments.privacy, one_shot=True), git_wait_s=SNAPSHOT_GIT_WAIT_S))
        else:
            _stream(Scanner(tools(arguments.privacy)), arguments.interval)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _served(privacy: str) -> list[str] | None:
    """The arguments that the holder of a restricted key may have; None if that is nothing."""
    from fleet_agent import serve

    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    allowed = serve.arguments(asked, privacy)
    if allowed is None:
        print(f"fleet-agent: this key may only observe, not run {(asked or 'a shell')[:80]!a}", file=sys.stderr)
    return allowed


def _snapshot(scanner: Scanner) -> None:
    _write(encode.line(machine.hello()))
    try:
        reading = scanner.scan()
    finally:
        scanner.close()
    for line in encode.snapshot_lines(reading, seq=1):
        _write(line)


def _stream(scanner: Scanner, interval_s: float) -> None:
    with suppress(OSError):  # a sandbox may forbid it
        os.nice(stream.NICENESS)
    commands = stream.Commands(_STDIN)
    try:
        stream.run(machine.hello(), scanner.scan, _write, commands.wait, interval_s)
    finally:
        scanner.close()


def _hooks(arguments: argparse.Namespace) -> int:
    from fleet_agent.tools.codex.holders import home_of
    from fleet_agent.tools.codex.hooks import setup

    home = arguments.home or home_of(os.environ) or os.path.expanduser("~/.codex")
    try:
        print(setup.run(arguments.action, home, os.environ))
    except setup.HooksError as exc:
        print(f"fleet-agent hooks: {exc}", file=sys.stderr)
        return 1
    return 0


def _control(verb: str) -> int:
    from fleet_agent.control import launch, verbs

    if verb == launch.VERB:
        return launch.supervise()
    before_arguments = len(sys.orig_argv) - len(sys.argv) + 1
    try:
        verbs.serve([sys.executable, *sys.orig_argv[1:before_arguments]], os.environ)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _write(data: bytes) -> None:
    stream.write_all(_STDOUT, data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleet-agent",
        description="Prints the coding-agent sessions of this machine as NDJSON; `hooks` and `control` act.",
        formatter_class=_formatter,
    )
    parser.add_argument("--version", action="version", version=f"fleet-agent {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("snapshot", formatter_class=_formatter, help="one reading, then exit")
    many = verbs.add_parser(
        "stream", formatter_class=_formatter, help="a reading whenever something changed, until stdin closes"
    )
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
    served = verbs.add_parser(
        "serve", formatter_class=_formatter, help="the forced command of a restricted key: what SSH asked for"
    )
    served.add_argument("--privacy", choices=PRIVACIES, default="meta", help="the most that may leave (meta)")
    verbs.add_parser("probe", formatter_class=_formatter, help="which agent and Python this is, then exit")
    verbs.add_parser(
        "control", formatter_class=_formatter, help="start, follow, answer and stop sessions: NDJSON on stdin"
    )
    verbs.add_parser("control-supervisor", formatter_class=_formatter)  # what `control` starts beside a run
    hooks = verbs.add_parser(
        "hooks", formatter_class=_formatter, help="let Codex itself tell when it asks somebody (docs/hooks.md)"
    )
    hooks.add_argument("action", choices=("install", "uninstall", "status"))
    hooks.add_argument("--home", metavar="DIR", help="another CODEX_HOME")
    return parser


def _formatter(prog: str) -> argparse.HelpFormatter:
    # Without a width, argparse imports shutil and all its compressors to ask for it: 5 ms of each start.
    return argparse.HelpFormatter(prog, width=100)


def _interval(value: str) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{value} is not from 0.1 to 3600 seconds")
    return seconds


def run() -> NoReturn:
    """The command, ending at once: to take everything apart would take a tenth of a snapshot's time."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
