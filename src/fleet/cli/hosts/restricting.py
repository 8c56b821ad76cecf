"""`fleet hosts restrict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet import paths
from fleet.cli.options import ConfigFile, Privacy

if TYPE_CHECKING:
    from fleet.authorized import Reading
    from fleet.config import HostSpec
    from fleet.transport.remote import Remote


def restrict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host that the key is for.")],
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The key, of which the .pub is read. [default: the host's `identity`]"
        ),
    ] = None,
    privacy: Annotated[
        Privacy, typer.Option(help="The most that may leave the host, whatever a collector asks for.")
    ] = Privacy.META,
    install: Annotated[
        bool, typer.Option("--install", help="Put the line there, over SSH, after asking.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    file: Annotated[
        str, typer.Option(metavar="PATH", help="The file on the host, from the home directory.")
    ] = ".ssh/authorized_keys",
    config: ConfigFile = None,
) -> None:
    """Print the authorized_keys line of a key that can only observe.

    No shell, no other command, no files, no forwarding: only the agent's readings. Make a key of its own for
    it, or the key that you log in with is restricted. --install logs in with the host's `identity`, installs an
    agent where there is none but a shipped one, keeps all other lines and a backup, and tries the key
    afterwards. Exit codes: 0; 2 the key is not there; 5 it does not work yet.
    """
    from fleet import authorized, launch
    from fleet.cli.hosts.named import remote_host

    spec = remote_host(name, config)
    private = _private(spec, key)
    public = _public(private)
    if not install:
        print(authorized.line(public, spec.agent_command or launch.KEPT_AGENT, privacy))
        return
    _install(spec, public, privacy, file, ask=not yes)
    sys.stdout.flush()
    _try(spec, private)


def _private(spec: "HostSpec", key: Path | None) -> Path:
    from fleet.errors import UsageError

    if key is None and not spec.identity:
        raise UsageError(
            f"{spec.name}: name the key with --key; make one with"
            " `ssh-keygen -t ed25519 -f ~/.ssh/fleet_observer`"
        )
    path = paths.expanded(key or spec.identity[0]).absolute()
    return path.with_suffix("") if path.suffix == ".pub" else path


def _public(private: Path) -> str:
    from fleet.errors import UsageError

    path = Path(f"{private}.pub")
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "is no text"
        raise UsageError(
            f"{path}: {reason}; `ssh-keygen -y -f {private}` makes it from the private key"
        ) from None


def _install(spec: "HostSpec", public: str, privacy: str, file: str, *, ask: bool) -> None:
    from fleet.cli.hosts.named import done_with
    from fleet.transport import Transport
    from fleet.transport.deadlines import Deadlines

    async def run() -> None:
        async with Transport() as transport, transport.remote(spec, Deadlines(spec.timeouts)) as remote:
            await _replace(remote, spec, public, privacy, file, ask=ask)

    done_with(spec, run())


async def _replace(
    remote: "Remote", spec: "HostSpec", public: str, privacy: str, file: str, *, ask: bool
) -> None:
    from fleet import authorized, launch
    from fleet.errors import UsageError

    agent = spec.agent_command or await _installed(remote, spec)
    new = authorized.line(public, agent or launch.KEPT_AGENT, privacy)
    reading = await _read(remote, spec, file)
    text = authorized.with_line(reading.text, new)
    if text == reading.text and agent:
        print(f"{spec.name}: {file} has the line already")
        return
    if not agent:
        kept = f"{launch.KEPT_FILES}, started by {launch.KEPT_AGENT}"
        print(f"{spec.name} has no installed agent, and gets fleet's: {kept}")
    print(f"{file} on {spec.name} gets, with all its other lines kept:\n{new}")
    if ask:
        _confirm(spec.name)
    if not agent:
        await _keep(remote, spec)
    raw = text.encode()
    ran = await remote.run(authorized.write_command(file, reading.checksum, len(raw)), raw)
    if ran.status != 0:
        raise UsageError(
            f"{spec.name}: {file} was not changed: {ran.said()}; try again, or add the line by hand"
        )
    backup = f"; as it was: {file}{authorized.BACKUP_SUFFIX}" if reading.text else ""
    print(f"{spec.name}: {file} is changed{backup}")


async def _installed(remote: "Remote", spec: "HostSpec") -> str | None:
    """Where the host's installed agent is; None where fleet may install one."""
    from fleet import checks
    from fleet.errors import UsageError

    probe = checks.probed((await remote.probe()).out)
    if probe is None:
        raise UsageError(f"{spec.name}: it runs no command of ours, so the line has to be added by hand")
    if probe.agent:
        return probe.agent.split(" fleet-agent ")[0]
    if spec.install == "never":
        raise UsageError(
            f"{spec.name}: no fleet-agent is installed there that a forced command could name, and its"
            ' `install` is "never"; run `pipx install fleet-sessions-agent` there, or set `agent_command`'
        )
    return None


async def _keep(remote: "Remote", spec: "HostSpec") -> None:
    """Install an agent there: the path of the one that fleet ships by itself changes with each release."""
    from fleet.errors import UsageError

    await remote.ship()
    ran = await remote.keep()
    if ran.status != 0:
        raise UsageError(
            f"{spec.name}: no agent could be installed there: {ran.said()}; nothing else was changed; run"
            " `pipx install fleet-sessions-agent` there, or set `agent_command`"
        )


async def _read(remote: "Remote", spec: "HostSpec", file: str) -> "Reading":
    from fleet import authorized
    from fleet.errors import UsageError

    ran = await remote.run(authorized.read_command(file))
    reading = authorized.read(ran.out) if ran.status == 0 else None
    if reading is None:
        raise UsageError(f"{spec.name}: {file} cannot be read: {ran.said() or 'no text'}; add the line by hand")
    return reading


def _confirm(name: str) -> None:
    from fleet.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(f"{name}: nobody can be asked here; add --yes")
    if input("Type yes to write it: ").strip() != "yes":
        raise UsageError(f"{name}: nothing was changed")


def _try(spec: "HostSpec", private: Path) -> None:
    import msgspec

    from fleet import checking, collector
    from fleet.cli.hosts.checking import write_text
    from fleet.errors import ExitCode

    with_key = msgspec.structs.replace(spec, identity=(str(private),))
    checks = collector.run(checking.check_fleet([with_key]))
    write_text(checks)
    if checks[0].failed:
        raise typer.Exit(ExitCode.ALL_HOSTS_FAILED)
    if str(private) not in spec.identity:
        print(f'to use it, set identity = "{private}" in [hosts.{spec.name}] of hosts.toml')
