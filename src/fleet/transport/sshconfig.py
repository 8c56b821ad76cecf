"""What the user's ssh configuration says about a host, as OpenSSH itself reads it.

`ssh -G` resolves Host, Match, Include and tokens exactly as `ssh` would, so aliases mean here what they mean
there. Only the few options below are taken from it. What would forward something, run something, or turn a
check off is not among them, so no ssh_config can make fleet do that.
"""

import asyncio
import contextlib
import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.text import clean_bytes
from fleet.transport.deadlines import Deadlines

# The one that ssh reads without being told: in the account's home, whatever $HOME says.
_OWN = f"{pwd.getpwuid(os.getuid()).pw_dir}/.ssh/config"
_LIMIT_S = 5.0
_AT_ONCE = 8  # ssh processes; each takes about 6 ms of CPU
_TAKEN = frozenset(
    (
        "hostname",
        "user",
        "port",
        "identityfile",
        "certificatefile",
        "identitiesonly",
        "identityagent",
        "userknownhostsfile",
        "globalknownhostsfile",
        "hostkeyalias",
        "hashknownhosts",
        "proxyjump",
        "proxycommand",
    )
)

Options = Mapping[str, tuple[str, ...]]


def parse(output: str) -> dict[str, tuple[str, ...]]:
    """The taken options in the output of `ssh -G`: lower-case keyword -> its values, in order."""
    options: dict[str, tuple[str, ...]] = {}
    for line in output.splitlines():
        keyword, _, value = line.partition(" ")
        if keyword in _TAKEN and value:
            options[keyword] = (*options.get(keyword, ()), value)
    return options


class SshConfig:
    """Asks `ssh -G`, a few hosts at a time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def options(self, spec: HostSpec, deadlines: Deadlines) -> Options:
        """What ssh_config says about the host; empty if there is no such file. Raises `HostFailure`."""
        if spec.ssh_config is None or not Path(spec.ssh_config).is_file():
            return {}
        async with self._slots:
            return await _ask(spec, spec.ssh_config, deadlines)


async def _ask(spec: HostSpec, path: str, deadlines: Deadlines) -> Options:
    # Without -F the system-wide file is read as well, as ssh does for the user's own file.
    file = () if path == _OWN else ("-F", path)
    user = ("-l", spec.user) if spec.user else ()
    try:
        process = await asyncio.create_subprocess_exec(
            "ssh", "-G", *file, *user, "--", spec.address or spec.name,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
    except OSError as exc:
        raise _refused(f"{path} cannot be used: ssh: {exc.strerror}", "install the OpenSSH client") from None
    try:
        async with deadlines.within(Phase.CONFIG, _LIMIT_S, lambda: "`ssh -G` did not answer"):
            out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what a `Match exec` has started
        await process.wait()
        raise
    if process.returncode:
        raise _refused(f"{path}: {clean_bytes(err, 300)}", "mend it until `ssh -G HOST` accepts it")
    return parse(out.decode("utf-8", "replace"))


def _refused(message: str, hint: str) -> HostFailure:
    return HostFailure(ErrorKind.CONFIG, Phase.CONFIG, message, hint + ', or set ssh_config = "none"')
