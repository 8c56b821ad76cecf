"""fleet.authorized: the line of a key that may only observe."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet import authorized
from fleet.errors import UsageError
from fleet.launch import KEPT_AGENT

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl observer"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 me@laptop"
LINE = f'command="~/.local/bin/fleet-agent serve --privacy meta",restrict {KEY}'
SHELLS = [shell for shell in ("sh", "dash", "bash", "zsh", "fish", "tcsh") if shutil.which(shell)]


def test_the_line() -> None:
    """One forced command, and `restrict`, which is every restriction that sshd knows."""
    assert authorized.line(KEY + "\n", KEPT_AGENT, "meta") == LINE


@pytest.mark.parametrize(
    ("key", "agent"),
    [
        ("", "a"),
        ("x\ny", "a"),
        (f"{KEY}\n{OTHER}", "a"),
        (f'command="id" {KEY}', "a"),
        (KEY, 'a"b'),
        (KEY, "a;b"),
        (KEY, "a\nb"),
    ],
)
def test_what_would_break_out_of_the_line_is_refused(key: str, agent: str) -> None:
    """A second line, a quote: the file is somebody's way into their machine."""
    with pytest.raises(UsageError):
        authorized.line(key, agent, "meta")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{LINE}\n"),
        (f"# mine\n{OTHER}\n", f"# mine\n{OTHER}\n{LINE}\n"),
        (OTHER, f"{OTHER}\n{LINE}\n"),
        (f"{KEY}\n{OTHER}\n", f"{LINE}\n{OTHER}\n"),
        (f"{LINE}\n{OTHER}\n", f"{LINE}\n{OTHER}\n"),
        (f"{LINE.replace('meta', 'text')}\n{KEY}\n", f"{LINE}\n"),
        (f"# {KEY}\n", f"# {KEY}\n{LINE}\n"),
    ],
)
def test_the_line_takes_the_place_of_its_keys(before: str, after: str) -> None:
    """Others' lines stay as they are, byte for byte; a second time changes nothing."""
    assert authorized.with_line(before, LINE) == after
    assert authorized.with_line(after, LINE) == after


def test_options_of_somebodys_own_are_not_dropped() -> None:
    """`from=` narrows: to drop it would widen."""
    with pytest.raises(UsageError, match=r'options of its own \(from="10\.0\.0\.0/8"\)'):
        authorized.with_line(f'from="10.0.0.0/8" {KEY}\n', LINE)


def run(shell: str, command: str, home: Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [shell, "-c", command], env=env, input=stdin, capture_output=True, text=True, timeout=10
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_the_file_is_read_and_replaced_whatever_the_login_shell(shell: str, tmp_path: Path) -> None:
    """Made if it is not there, for its owner alone; else its mode is kept, and a backup."""
    file = tmp_path / authorized.DEFAULT_FILE
    reading = authorized.read(
        run(shell, authorized.read_command(authorized.DEFAULT_FILE), tmp_path).stdout.encode()
    )
    assert reading == ("absent", "")
    done = run(shell, authorized.write_command(authorized.DEFAULT_FILE, "absent", 4), tmp_path, "one\n")
    assert (done.returncode, done.stderr, file.read_text()) == (0, "", "one\n")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.chmod(0o640)
    reading = authorized.read(
        run(shell, authorized.read_command(authorized.DEFAULT_FILE), tmp_path).stdout.encode()
    )
    assert reading is not None
    assert reading.text == "one\n"
    done = run(shell, authorized.write_command(authorized.DEFAULT_FILE, reading.checksum, 4), tmp_path, "two\n")
    assert (done.returncode, file.read_text(), file.stat().st_mode & 0o777) == (0, "two\n", 0o640)
    assert Path(f"{file}.fleet-backup").read_text() == "one\n"
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "authorized_keys",
        "authorized_keys.fleet-backup",
    ]


@pytest.mark.parametrize(
    ("checksum", "size", "words"), [("absent", 4, "changed meanwhile"), ("", 9, "not come whole")]
)
def test_nothing_happens_by_halves(tmp_path: Path, checksum: str, size: int, words: str) -> None:
    """A file that changed meanwhile, or an upload that was cut off, leaves everything as it was."""
    file = tmp_path / authorized.DEFAULT_FILE
    file.parent.mkdir()
    file.write_text("one\n")
    given = checksum or authorized.read(
        run("sh", authorized.read_command(authorized.DEFAULT_FILE), tmp_path).stdout.encode()
    )
    sent = given if isinstance(given, str) else given.checksum if given else ""
    done = run("sh", authorized.write_command(authorized.DEFAULT_FILE, sent, size), tmp_path, "two\n")
    assert done.returncode != 0
    assert words in done.stderr
    assert [path.name for path in file.parent.iterdir()] == ["authorized_keys"]
    assert file.read_text() == "one\n"


def test_a_symbolic_link_is_left_alone(tmp_path: Path) -> None:
    """Whoever made it a link has the file managed from elsewhere."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / authorized.DEFAULT_FILE).symlink_to(tmp_path / "elsewhere")
    done = run("sh", authorized.read_command(authorized.DEFAULT_FILE), tmp_path)
    assert done.returncode == 3
    assert "symbolic link" in done.stderr


@pytest.mark.parametrize("path", ["x", "-x/y", "a b/c", "a/$(id)", "a/'b", "a/b\nc"])
def test_a_path_that_needs_quotes_is_refused(path: str) -> None:
    """No word of the command line becomes shell."""
    with pytest.raises(UsageError, match="plain path"):
        authorized.read_command(path)
