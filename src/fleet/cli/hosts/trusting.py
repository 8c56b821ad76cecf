"""`fleet hosts trust`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.cli.options import ConfigFile

if TYPE_CHECKING:
    from fleet.config import HostSpec
    from fleet.transport.hostkeys import HostKey, HostKeys
    from fleet.transport.sshfp import Published


def trust(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host whose key is to be trusted.")],
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="SHA256:...", help="Trust the key with this fingerprint and no other, without asking."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let it take the place of the key that known_hosts has now.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Show the host key of a machine; write it to known_hosts on yes.

    Compare the fingerprint with the machine's own: there, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`.
    What DNS publishes of it (SSHFP) stands beside it, and answers nothing for you. Only that key is stored, in
    the file that ssh would use. Exit codes: 0 it is trusted; 2 it is not, and nothing changed.
    """
    from fleet.cli.hosts.editing import told_to_retry
    from fleet.cli.hosts.named import remote_host
    from fleet.errors import UsageError

    spec = remote_host(name, config)
    keys = _asked(spec)
    key = _chosen(keys, fingerprint, name)
    if key in keys.trusted:
        print(f"{name}: {key.algorithm} {key.fingerprint} is trusted already")
        return
    path = _store(keys, name)
    _show(keys, key, path)
    if keys.trusted and not replace:
        raise UsageError(
            f"{name}: another key is trusted for {keys.where}: the machine was reinstalled, or somebody answers"
            " in its place; find out which, then add --replace"
        )
    if fingerprint is None:
        _refuse_another(keys, key, name)
        _confirm(name)
    _write(keys, key, path)
    print(f"{name}: trusted; {keys.name} is in {path}")
    if told_to_retry(name):
        print("the daemon connects to it again")
    else:
        print(f"next: `fleet hosts check {name}`")


def _asked(spec: "HostSpec") -> "HostKeys":
    from fleet.cli.hosts.named import done_with
    from fleet.transport import Transport
    from fleet.transport.deadlines import Deadlines

    async def ask() -> "HostKeys":
        async with Transport() as transport:
            return await transport.host_keys(spec, Deadlines(spec.timeouts))

    return done_with(spec, ask())


def _chosen(keys: "HostKeys", fingerprint: str | None, name: str) -> "HostKey":
    """The key that is asked about: the one that is given, else one that is trusted, else the preferred one."""
    from fleet.errors import UsageError

    if any(key in keys.revoked for key in keys.shown):
        raise UsageError(f"{name}: its host key is marked @revoked in known_hosts; ask who runs the machine")
    if fingerprint is None:
        return next((key for key in keys.shown if key in keys.trusted), keys.shown[0])
    given = fingerprint if ":" in fingerprint else f"SHA256:{fingerprint}"
    for key in keys.shown:
        if key.fingerprint == given.rstrip("="):
            return key
    shown = ", ".join(f"{key.algorithm} {key.fingerprint}" for key in keys.shown)
    raise UsageError(f"{name}: {keys.where} has no key with the fingerprint {given}; it has {shown}")


def _store(keys: "HostKeys", name: str) -> Path:
    """The file that takes the key."""
    from fleet.errors import UsageError

    path = Path(keys.files[0]).expanduser() if keys.files else None
    if path is None or str(path) == "/dev/null":
        raise UsageError(
            f"{name}: its configuration has no known_hosts file to write to; set `known_hosts` in hosts.toml,"
            " or mend UserKnownHostsFile in ssh_config"
        )
    return path


def _show(keys: "HostKeys", key: "HostKey", path: Path) -> None:
    print(f"host      {keys.where}")
    print(f"presents  {key.algorithm} {key.fingerprint}")
    for old in keys.trusted:
        print(f"trusted   {old.algorithm} {old.fingerprint}  (now, and another)")
    if keys.has_authority:
        print("trusted   a certificate authority, which has not signed this key")
    if keys.dns:
        print(f"dns       {_published(keys.dns, key)}")
    print(f"stored    as {keys.name} in {path}")


def _published(dns: "Published", key: "HostKey") -> str:
    """What DNS says of the key, and what that is worth."""
    from fleet.transport.sshfp import Verdict

    if dns.failure:
        return f"could not be asked for SSHFP records: {dns.failure}"
    verdict = dns.verdict(key.text)
    if verdict is Verdict.ABSENT:
        return "has no SHA-256 SSHFP record for a key of this kind"
    if verdict is Verdict.DIFFERS:
        return f"DIFFERS: {dns.name} has SSHFP records for this kind of key, and none is of this one"
    if dns.is_authenticated:
        return f"matches an SSHFP record of {dns.name}, signed (DNSSEC)"
    return "matches, but DNS is not signed: who can answer for the machine may answer for its DNS, too"


def _refuse_another(keys: "HostKeys", key: "HostKey", name: str) -> None:
    from fleet.errors import UsageError
    from fleet.transport.sshfp import Verdict

    if keys.dns and keys.dns.verdict(key.text) is Verdict.DIFFERS:
        raise UsageError(
            f"{name}: this key is not the one that DNS publishes for {keys.dns.name}: somebody may answer in"
            " its place, or the SSHFP records are old; if you have its fingerprint from the machine itself,"
            " give it with --fingerprint"
        )


def _confirm(name: str) -> None:
    from fleet.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            f"{name}: nobody can be asked here; give the fingerprint with --fingerprint SHA256:..."
        )
    if input("Is this the machine's own fingerprint? Type yes to trust it: ").strip() != "yes":
        raise UsageError(f"{name}: not trusted; nothing was changed")


def _write(keys: "HostKeys", key: "HostKey", path: Path) -> None:
    import os

    from fleet import files, knownhosts
    from fleet.errors import FleetError

    salt = os.urandom(knownhosts.SALT_BYTES) if keys.hashes_names else None
    line = knownhosts.line(keys.name, key.text, salt)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.held(path.parent):
            if keys.trusted:
                _forget(keys.name, [Path(file).expanduser() for file in keys.files])
            files.append_line(path, line)
    except OSError as exc:
        raise FleetError(
            f"{exc.filename or path}: cannot be changed: {exc.strerror}; nothing is trusted"
        ) from None


def _forget(name: str, paths: Sequence[Path]) -> None:
    from fleet import files, knownhosts

    for path in paths:
        if path.is_file():
            text = path.read_text("utf-8", "surrogateescape")
            kept, gone = knownhosts.without(text, name)
            if gone:
                files.replace(path, kept)
