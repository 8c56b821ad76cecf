"""fleet.transport.credentials: keys and known_hosts, loaded once."""

from pathlib import Path

import asyncssh
import pytest

from fleet.errors import ErrorKind, HostFailure
from fleet.transport.credentials import Credentials, KnownHosts, agent_socket, left_to_agent, public_keys


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


@pytest.fixture(scope="module")
def keys() -> list[asyncssh.SSHKey]:
    return [asyncssh.generate_private_key("ssh-ed25519") for _ in range(3)]


def test_a_line_that_cannot_be_read_is_passed_over(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """As OpenSSH does: one bad line does not cost every host."""
    path = tmp_path / "known_hosts"
    path.write_text(f"nonsense\n|9|x|y ssh-ed25519 AAAA\n@odd h ssh-ed25519 A\n# c\n\ngpu {public(keys[0])}\n")
    known = KnownHosts([str(tmp_path / "none"), str(path)])
    assert known.has("gpu", None)
    assert not known.has("other", None)


def test_a_key_revoked_for_a_port_is_revoked_there(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """Though the same key is trusted for the host without its port, where asyncssh looks next (PROMISES 7)."""
    path = tmp_path / "known_hosts"
    path.write_text(f"@revoked [gpu]:2222 {public(keys[0])}\ngpu {public(keys[0])}\n")
    trusted, _, revoked, *_ = KnownHosts([str(path)])("gpu", "", 2222)
    assert [key.public_data for key in revoked] == [keys[0].public_data]
    assert [key.public_data for key in trusted] == [keys[0].public_data]  # asyncssh asks the revoked first


def test_hashed_names_and_authorities_are_known(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """`ssh-keygen -H` files and @cert-authority lines mean what they mean to ssh."""
    path = tmp_path / "known_hosts"
    path.write_text(f"@cert-authority *.example.org {public(keys[1])}\n")
    known = KnownHosts([str(path)])
    assert known.has("gpu.example.org", None)
    assert [key.public_data for key in known("gpu.example.org", "", None)[1]] == [keys[1].public_data]


def test_a_file_is_read_once(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """500 hosts share one parsed file."""
    credentials = Credentials()
    path = tmp_path / "id"
    keys[0].write_private_key(path)
    (first,) = credentials.keys([str(path)], must_exist=True, has_agent=False)
    assert credentials.keys([str(path)], must_exist=True, has_agent=False)[0] is first
    assert credentials.known_hosts(["/a"]) is credentials.known_hosts(["/a"])


def test_a_key_that_cannot_be_read_is_told_plainly(tmp_path: Path) -> None:
    """Path, reason and fix, each once."""
    with pytest.raises(HostFailure) as caught:
        Credentials().keys([str(tmp_path)], must_exist=True, has_agent=False)
    assert caught.value.error.message == f"identity {tmp_path}: Is a directory"
    assert caught.value.error.hint == f"see what `ssh-keygen -l -f {tmp_path}` says"


def test_a_file_that_changed_is_read_again(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """A daemon runs for months: a key that is replaced, revoked, or made at last, counts from then on."""
    credentials, path, known = Credentials(), tmp_path / "id", tmp_path / "known_hosts"

    def offered() -> list[bytes]:
        pairs = credentials.keys([str(path)], must_exist=False, has_agent=False)
        return [pair.public_data for pair in pairs]

    assert offered() == []
    for key in keys[:2]:
        key.write_private_key(path)
        assert offered() == [key.public_data]
    known.write_text(f"gpu {public(keys[0])}\n")
    assert not credentials.known_hosts([str(known)])("gpu", "", None)[2]
    known.write_text(f"gpu {public(keys[0])}\n@revoked gpu {public(keys[0])}\n")
    assert credentials.known_hosts([str(known)])("gpu", "", None)[2]


def test_default_keys_may_be_missing_named_ones_may_not(tmp_path: Path) -> None:
    """~/.ssh/id_rsa is optional; what `identity` names is not."""
    missing = str(tmp_path / "id_nope")
    assert Credentials().keys([missing], must_exist=False, has_agent=False) == []
    with pytest.raises(HostFailure) as caught:
        Credentials().keys([missing], must_exist=True, has_agent=False)
    assert caught.value.error.kind is ErrorKind.CONFIG
    assert missing in caught.value.error.message


def test_a_file_that_is_no_key_says_how_to_look(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """The message names the file, the hint a command."""
    path = tmp_path / "id"
    path.write_text("hello\n")
    keys[0].write_public_key(f"{path}.pub")
    with pytest.raises(HostFailure) as caught:
        Credentials().keys([str(path)], must_exist=True, has_agent=True)
    assert "ssh-keygen -l -f" in caught.value.error.hint


def test_a_public_key_is_left_to_ssh_agent(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """`identity = "id.pub"`: the agent has the rest, or the error says so."""
    path = tmp_path / "id.pub"
    keys[0].write_public_key(path)
    assert Credentials().keys([str(path)], must_exist=True, has_agent=True) == []
    assert left_to_agent([], [str(path)], []) == [keys[0].public_data]
    with pytest.raises(HostFailure) as caught:
        Credentials().keys([str(path)], must_exist=True, has_agent=False)
    assert f"ssh-add {tmp_path}/id`" in caught.value.error.hint


def test_what_was_loaded_is_not_asked_of_ssh_agent(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """Only the identities that gave no key are."""
    for number, key in enumerate(keys[:2]):
        key.write_public_key(tmp_path / f"{number}.pub")
    keys[0].write_private_key(tmp_path / "0")
    loaded = Credentials().keys([str(tmp_path / "0")], must_exist=True, has_agent=True)
    assert left_to_agent(loaded, [str(tmp_path / "0")], []) == []
    assert left_to_agent(loaded, [str(tmp_path / n) for n in "01"], []) == [keys[1].public_data]


def test_public_keys_are_those_beside_the_identities(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """They say which keys of an ssh-agent may be offered."""
    keys[0].write_public_key(tmp_path / "id.pub")
    assert public_keys([str(tmp_path / "id"), str(tmp_path / "none")]) == [keys[0].public_data]


def test_a_certificate_goes_with_its_key(tmp_path: Path, keys: list[asyncssh.SSHKey]) -> None:
    """Of the named ones those that are for the key come first; one that is not there is passed over."""
    for number, key in enumerate(keys[:2]):
        certificate = keys[2].generate_user_certificate(key, "me", principals=["me"])
        certificate.write_certificate(tmp_path / f"{number}-anywhere")
        key.write_private_key(tmp_path / str(number))
    named = [str(tmp_path / name) for name in ("none", "1-anywhere", "0-anywhere")]
    credentials, identity = Credentials(), [str(tmp_path / "0")]
    assert [k.has_cert for k in credentials.keys(identity, must_exist=True, has_agent=False)] == [False]
    pairs = credentials.keys(identity, named, must_exist=True, has_agent=False)
    assert [pair.has_cert for pair in pairs] == [True, False]
    assert pairs[0].public_data in public_keys([], named)
    (tmp_path / "0-anywhere").unlink()
    assert len(credentials.keys(identity, named, must_exist=True, has_agent=False)) == 1


def test_which_ssh_agent_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """By IdentityAgent of ssh_config, else by the environment."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    monkeypatch.setenv("OTHER", "/run/other")
    monkeypatch.setenv("HOME", "/home/me")
    assert agent_socket(None) == agent_socket("SSH_AUTH_SOCK") == "/run/agent"
    assert agent_socket("none") is None
    assert agent_socket("$OTHER") == "/run/other"
    assert agent_socket("~/.agent") == "/home/me/.agent"
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert agent_socket(None) is None
