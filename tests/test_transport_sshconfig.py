"""fleet.transport.sshconfig: what ssh itself makes of ssh_config."""

import asyncio
import shutil
from pathlib import Path

import pytest

from fleet.config import HostSpec, Timeouts
from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.transport import sshconfig
from fleet.transport.deadlines import Deadlines
from fleet.transport.sshconfig import Options, SshConfig
from lab import procs
from lab.waiting import wait_until

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")


def ask(spec: HostSpec) -> Options:
    async def scene() -> Options:
        return await SshConfig().options(spec, Deadlines(Timeouts()))

    return asyncio.run(scene())


def test_an_alias_means_what_it_means_to_ssh(tmp_path: Path) -> None:
    """Host, Match and Include are resolved by ssh; values keep their order."""
    (tmp_path / "more").write_text("Match originalhost gpu user me\n  Port 2200\n")
    path = tmp_path / "config"
    path.write_text(
        f"Include {tmp_path}/more\nHost gpu\n  HostName 10.1.2.3\n  IdentityFile /a\n  IdentityFile /b\n"
    )
    options = ask(HostSpec("gpu", user="me", ssh_config=str(path)))
    assert (options["hostname"], options["port"]) == (("10.1.2.3",), ("2200",))
    assert options["identityfile"] == ("/a", "/b")
    assert "forwardagent" not in options


def test_without_a_file_ssh_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for `ssh_config = "none"` nor for a file that is not there."""
    monkeypatch.setenv("PATH", "")
    assert ask(HostSpec("gpu", ssh_config=None)) == {}
    assert ask(HostSpec("gpu", ssh_config=str(tmp_path / "none"))) == {}


def test_a_host_is_never_an_option_of_ssh(tmp_path: Path) -> None:
    """An address that begins with a dash is refused by ssh as a host name, not taken for an option."""
    path = tmp_path / "config"
    path.write_text("Host *\n")
    with pytest.raises(HostFailure) as caught:
        ask(HostSpec("x", address="-oProxyCommand=touch /tmp/planted", ssh_config=str(path)))
    assert caught.value.error.kind is ErrorKind.CONFIG


def test_a_file_that_ssh_refuses_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    """ssh's own words, and how to go on without the file."""
    path = tmp_path / "config"
    path.write_text("Host x\n  NoSuchOption yes\n")
    with pytest.raises(HostFailure) as caught:
        ask(HostSpec("x", ssh_config=str(path)))
    error = caught.value.error
    assert (error.kind, error.phase) == (ErrorKind.CONFIG, Phase.CONFIG)
    assert "nosuchoption" in error.message.lower()
    assert 'ssh_config = "none"' in error.hint


def test_a_match_exec_that_hangs_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh_config can run commands; one that hangs costs its own host a time-out, and is not left behind."""
    monkeypatch.setattr(sshconfig, "_LIMIT_S", 0.3)
    path = tmp_path / "config"
    path.write_text(f'Match exec "echo $$ > {tmp_path}/pid; exec sleep 60"\n  User x\n')
    with pytest.raises(HostFailure) as caught:
        ask(HostSpec("x", ssh_config=str(path)))
    assert (caught.value.error.kind, caught.value.error.phase) == (ErrorKind.TIMEOUT, Phase.CONFIG)
    started = int((tmp_path / "pid").read_text())
    wait_until(lambda: not procs.born(started), "what it ran is gone", timeout_s=20)
