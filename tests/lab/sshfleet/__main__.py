"""`python -m lab.sshfleet`: start, stop and trouble a fleet from a shell. Its verbs: see the package."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from lab import LabError, procs
from lab.sshfleet import FAULTS, SshFleet, faultd

TROUBLES = ("kill", "revive", "freeze", "thaw")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab.sshfleet", description="real SSH hosts on loopback")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("up", "run"):
        _add_start_options(verbs.add_parser(verb))
    verbs.choices["run"].add_argument("command", nargs="+", help="gets SSHFLEET_DIR in its environment")
    for verb in ("stop", "status", "drop", *TROUBLES, "link", "_faultd"):
        verbs.add_parser(verb).add_argument("root", metavar="DIR")
    for verb in ("drop", *TROUBLES, "link"):
        verbs.choices[verb].add_argument("names", nargs="*" if verb == "drop" else "+", metavar="HOST")
    link = verbs.choices["link"]
    link.add_argument("--delay-ms", type=float)
    link.add_argument("--cut", dest="cut", action="store_true", default=None)
    link.add_argument("--heal", dest="cut", action="store_false")
    verbs.add_parser("roles")
    return parser


def _add_start_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="DIR")
    parser.add_argument("-n", "--hosts", type=int, default=1)
    parser.add_argument("--fault", action="append", default=[], metavar="ROLE=COUNT", help="or all=COUNT")
    parser.add_argument("--net", metavar="127.X", help="default: a free one")
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.add_argument("--per-sshd", type=int)
    parser.add_argument("--slow-s", type=float, default=5.0)
    parser.add_argument("--shared-home", action="store_true", help="leave $HOME alone")
    parser.add_argument("--sshd-option", action="append", default=[], metavar="'Key value'")


def _faults(items: list[str]) -> dict[str, int]:
    """`["all=1", "link=3"]` -> {role: count}."""
    faults: dict[str, int] = {}
    for item in items:
        role, _, count = item.partition("=")
        faults |= dict.fromkeys(FAULTS if role == "all" else [role], int(count or 1))
    return faults


def _planned(args: argparse.Namespace) -> SshFleet:
    return SshFleet(
        args.root,
        hosts=args.hosts,
        faults=_faults(args.fault),
        net=args.net,
        port=args.port,
        per_sshd=args.per_sshd,
        slow_s=args.slow_s,
        own_home=not args.shared_home,
        sshd_options=args.sshd_option,
    )


def _up(args: argparse.Namespace) -> int:
    fleet = _planned(args).start()
    summary = {
        "hosts": len(fleet.hosts),
        "sshds": len(fleet.sshds),
        "port": fleet.port,
        "user": fleet.user,
        "ssh_config": str(fleet.ssh_config),
        "key": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
    }
    print(json.dumps(summary))
    return 0


def _run(args: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the fleet is stopped
    with _planned(args) as fleet:
        environment = os.environ | {"SSHFLEET_DIR": str(fleet.root)}
        try:
            return subprocess.run(args.command, env=environment, check=False).returncode
        finally:  # SIGTERM may have come while the command was being started
            procs.end(procs.family([os.getpid()]))


def _status(fleet: SshFleet) -> str:
    sessions = fleet.sessions()
    return (
        f"{len(fleet.hosts)} hosts, {fleet.running()}/{len(fleet.sshds)} sshds up,"
        f" {sum(sessions.values())} sessions on {len(sessions)} hosts"
    )


def _order(args: argparse.Namespace) -> int:
    """A verb about a fleet that runs already."""
    fleet = SshFleet.load(args.root)
    match args.verb:
        case "stop":
            fleet.stop()
        case "status":
            print(_status(fleet))
        case "drop":
            print(fleet.drop(*args.names), "session processes killed")
        case "link":
            fleet.link(*args.names, delay_ms=args.delay_ms, cut=args.cut)
        case trouble:
            getattr(fleet, trouble)(*args.names)
    return 0


def main() -> int:
    """Run one verb; the exit status."""
    args = _parser().parse_args()
    match args.verb:
        case "_faultd":
            asyncio.run(faultd.play(Path(args.root)))
            return 0
        case "roles":
            print("\n".join(f"{role:16} {fault.sees}" for role, fault in FAULTS.items()))
            return 0
        case "up":
            return _up(args)
        case "run":
            return _run(args)
    return _order(args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"sshfleet: {error}")
