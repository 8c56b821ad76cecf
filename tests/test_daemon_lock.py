"""fleet.daemon.lock: one daemon, and files that are its owner's alone."""

import os
import socket
import stat
from pathlib import Path

import pytest

from fleet.daemon.lock import held, listening
from fleet.errors import DaemonError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_daemon_is_refused_and_told_which_one_runs(tmp_path: Path) -> None:
    """The lock ends with its holder; a file that was left over is no lock (PROMISES 23)."""
    path = tmp_path / "run" / "daemon.lock"
    with held(path), pytest.raises(DaemonError, match=rf"pid {os.getpid()}\)"), held(path):
        pass
    assert path.exists()
    with held(path):
        pass


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Directory 0700, lock and socket 0600 under umask 000 (PROMISES 22)."""
    run = tmp_path / "run"
    before = os.umask(0)
    try:
        with held(run / "daemon.lock"), listening(run / "fleet.sock"):
            assert (mode(run), mode(run / "daemon.lock"), mode(run / "fleet.sock")) == (0o700, 0o600, 0o600)
    finally:
        os.umask(before)
    run.chmod(0o755)
    with held(run / "daemon.lock"):
        assert mode(run) == 0o700


def test_a_lock_is_never_written_through_a_link(tmp_path: Path) -> None:
    """Another's link in a shared directory must not have us overwrite what it points to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "daemon.lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"), held(tmp_path / "daemon.lock"):
        pass
    assert victim.read_text() == "precious"


def test_a_socket_that_was_left_over_is_replaced(tmp_path: Path) -> None:
    """After a kill -9 the next start works; at the end the socket is gone."""
    path = tmp_path / "fleet.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(os.fspath(path))
    with listening(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
    assert not path.exists()


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    """It is said so, with what to set."""
    with pytest.raises(DaemonError, match="FLEET_RUNTIME_DIR"), listening(tmp_path / ("x" * 120)):
        pass
