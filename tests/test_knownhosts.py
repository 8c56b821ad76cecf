"""fleet.knownhosts: known_hosts edited as text."""

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fleet.knownhosts import line, without

KEY, OTHER = "ssh-ed25519 AAAAC3Nza", "ssh-rsa AAAAB3Nza"
NAME = "[10.0.0.4]:2200"


def test_only_the_hosts_own_keys_are_taken() -> None:
    """Other hosts, comments, markers and patterns stay; a shared line loses one name."""
    text = (
        f"# mine\n{NAME} {KEY}\n10.0.0.4 {KEY}\nweb,{NAME},[x]:1 {OTHER} note\n*.org {KEY}\n"
        f"@revoked {NAME} {KEY}\n@cert-authority * {OTHER}\n"
    )
    kept, keys = without(text, NAME)
    assert keys == [KEY, OTHER]
    assert kept == (
        f"# mine\n10.0.0.4 {KEY}\nweb,[x]:1 {OTHER} note\n*.org {KEY}\n"
        f"@revoked {NAME} {KEY}\n@cert-authority * {OTHER}\n"
    )


@given(
    st.from_regex(r"(\[[a-z0-9.]{1,20}\]:[0-9]{1,5})|([a-z0-9.]{1,20})", fullmatch=True),
    st.binary(min_size=20, max_size=20),
)
def test_a_hashed_name_is_found_again(name: str, salt: bytes) -> None:
    """What was added can be taken away, hashed or not."""
    for added in (line(name, KEY, None), line(name, KEY, salt)):
        assert without(f"a {OTHER}\n{added}", name) == (f"a {OTHER}\n", [KEY])
        assert without(added, f"{name}0") == (added, [])


def test_ssh_keygen_finds_what_is_written(tmp_path: Path) -> None:
    """The hash is OpenSSH's."""
    key = tmp_path / "k"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(line(NAME, public, b"x" * 20))
    found = subprocess.run(["ssh-keygen", "-F", NAME, "-f", tmp_path / "known"], capture_output=True, text=True)
    assert public in found.stdout
