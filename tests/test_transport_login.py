"""fleet.transport.login: hosts.toml over ssh_config over ssh's defaults."""

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.config import HostSpec
from fleet.errors import ErrorKind, HostFailure
from fleet.transport.credentials import DEFAULT_IDENTITIES, DEFAULT_KNOWN_HOSTS
from fleet.transport.login import login
from fleet.transport.sshconfig import parse

SSH_G = """\
user dev
hostname 10.0.0.9
port 2200
identitiesonly yes
identityfile ~/.ssh/work
identityfile ~/.ssh/other
userknownhostsfile ~/.ssh/known_hosts ~/.ssh/more
globalknownhostsfile /etc/ssh/ssh_known_hosts
hostkeyalias nine
proxyjump me@bastion:2222
forwardagent yes
permitlocalcommand yes
"""


def test_nothing_given_is_what_ssh_would_do() -> None:
    """The name, port 22, the user here, the usual keys and files."""
    to = login(HostSpec("gpu"), {})
    assert (to.host, to.port, to.user) == ("gpu", 22, getpass.getuser())
    assert (to.identities, to.known_hosts) == (DEFAULT_IDENTITIES, DEFAULT_KNOWN_HOSTS)
    assert (to.named_identities, to.identities_only, to.jump) == (False, False, None)
    assert (to.where, to.known_as) == ("gpu", "gpu")


def test_ssh_config_fills_in_what_hosts_toml_leaves_open() -> None:
    """Address, user, port, keys, files, alias and jump host."""
    to = login(HostSpec("gpu"), parse(SSH_G))
    assert (to.host, to.port, to.user) == ("10.0.0.9", 2200, "dev")
    assert to.identities == ("~/.ssh/work", "~/.ssh/other")
    assert to.identities_only
    assert to.known_hosts == ("~/.ssh/known_hosts", "~/.ssh/more", "/etc/ssh/ssh_known_hosts")
    assert (to.where, to.known_as) == ("10.0.0.9:2200", "[nine]:2200")
    assert to.jump is not None
    assert (to.jump.address, to.jump.user, to.jump.port) == ("bastion", "me", 2222)


def test_hosts_toml_wins() -> None:
    """What it says about a host is not asked of ssh_config; its keys are the only ones offered."""
    jump = HostSpec("outer")
    spec = HostSpec("gpu", user="me", port=22, identity=("/k",), known_hosts=("/kh",), jump=jump)
    to = login(spec, parse(SSH_G))
    assert (to.user, to.port, to.identities, to.known_hosts) == ("me", 22, ("/k",), ("/kh",))
    assert to.named_identities
    assert to.jump is jump


def test_only_known_options_are_taken() -> None:
    """What forwards, runs or switches off never reaches a login (PROMISES 8)."""
    assert not {"forwardagent", "permitlocalcommand"} & set(parse(SSH_G))


@pytest.mark.parametrize("name", ["bastion", "me@bastion"])
def test_a_jump_host_that_is_the_host_itself_is_passed_over(name: str) -> None:
    """`Host *` with ProxyJump names the bastion for the bastion, too."""
    spec = HostSpec(name, address="bastion")
    assert login(spec, {"proxyjump": ("me@bastion",)}).jump is None


def test_jumps_are_travelled_in_their_order() -> None:
    """`a,b`: b is reached through a."""
    jump = login(HostSpec("x"), {"proxyjump": ("a,b",)}).jump
    assert jump is not None
    assert jump.jump is not None
    assert (jump.address, jump.jump.address, jump.jump.jump) == ("b", "a", None)


def test_known_hosts_none_is_no_file() -> None:
    """Then no key is known, and every host is refused: checking cannot be turned off (PROMISES 7)."""
    assert login(HostSpec("x"), {"userknownhostsfile": ("none",)}).known_hosts == ()


def test_a_proxy_command_is_refused_with_what_to_do() -> None:
    """fleet does not run it; a jump in hosts.toml takes its place."""
    with pytest.raises(HostFailure) as caught:
        login(HostSpec("x"), {"proxycommand": ("nc %h %p",)})
    assert caught.value.error.kind is ErrorKind.CONFIG
    assert "`jump`" in caught.value.error.hint
    assert login(HostSpec("x", jump=HostSpec("b")), {"proxycommand": ("nc %h %p",)}).jump is not None


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
@pytest.mark.parametrize("alias", ["", "  HostKeyAlias nine\n"])
@pytest.mark.parametrize(
    "text", ["%%", "%d", "%h", "%i", "%k", "%L", "%l", "%n", "%p", "%r", "%u", "${JOB}", "$J"]
)
def test_tokens_mean_what_they_mean_to_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, alias: str
) -> None:
    """`ssh -G` expands those of UserKnownHostsFile, and leaves the same in IdentityFile to us."""
    monkeypatch.setenv("JOB", "%h")  # what a variable holds is not looked into again
    path = tmp_path / "config"
    files = "".join(
        f"  {key} /x/{text}/y\n" for key in ("UserKnownHostsFile", "IdentityFile", "CertificateFile")
    )
    path.write_text(f"Host gpu\n  HostName gpu.example.org\n  Port 2200\n  User me\n{alias}{files}")
    said = subprocess.run(["ssh", "-G", "-F", path, "gpu"], capture_output=True, text=True, check=True)
    to = login(HostSpec("gpu"), parse(said.stdout))
    assert to.identities == to.certificates == (to.known_hosts[0],)


@pytest.mark.parametrize("text", ["~/.ssh/%C", "~/.ssh/id%", "${NOT_SET}/id", "${JOB"])
def test_a_token_that_is_none_names_itself(text: str) -> None:
    """As with ssh, no other file is read in its place."""
    with pytest.raises(HostFailure) as caught:
        login(HostSpec("gpu"), {"identityfile": (text,)})
    assert caught.value.error.kind is ErrorKind.CONFIG
    assert text in caught.value.error.message
    assert login(HostSpec("gpu", identity=("/k",)), {"identityfile": (text,)}).identities == ("/k",)
