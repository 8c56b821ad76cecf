"""fleet_agent.control.logind: which runs end when their user logs out."""

import os
from pathlib import Path

import pytest

from fleet_agent.control import logind

SESSION = "0::/user.slice/user-1000.slice/session-7.scope\n"
MANAGER = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run.scope\n"
SERVICE = "0::/system.slice/ssh.service\n"
YES = "[Login]\nKillUserProcesses=yes\n"


@pytest.mark.parametrize(
    ("configs", "ends"),
    [
        ([], False),
        (["[Login]\n#KillUserProcesses=no\n"], False),
        (["[Login]\n#KillUserProcesses=yes\n"], True),
        (["[Login]\n#KillUserProcesses=yes\nKillUserProcesses=no\n"], False),
        ([YES], True),
        ([YES, "[Login]\nKillUserProcesses = false\n"], False),
        ([YES + "KillExcludeUsers=root me\n"], False),
        ([YES + "KillExcludeUsers=others\n"], True),
        ([YES + "KillOnlyUsers=others\n"], False),
        ([YES + "KillOnlyUsers=others\nKillOnlyUsers=\n"], True),
        ([YES + "#KillExcludeUsers=me\n"], True),
    ],
)
def test_whose_sessions_are_ended(configs: list[str], ends: bool) -> None:
    """As logind.conf says, for this user; a comment in it is the default that this systemd was built with."""
    assert logind.kills(configs, "me") is ends
    assert logind.kills(configs, "root") is False


@pytest.mark.parametrize(
    ("cgroup", "config", "lingers", "says"),
    [
        (SESSION, YES, False, "KillExcludeUsers=root me"),
        (SESSION, YES, True, "KillExcludeUsers=root me"),  # lingering keeps no session
        (SESSION, "", False, ""),
        (MANAGER, "", False, "loginctl enable-linger"),
        (MANAGER, YES, True, ""),
        (SERVICE, YES, False, ""),
    ],
)
def test_what_ends_at_a_logout(cgroup: str, config: str, lingers: bool, says: str) -> None:
    """A run is warned of with the fix that helps where it is, and only if it is in danger."""
    said = logind.end_at_logout(cgroup, [config], "me", lingers)
    assert (says in said) if says else not said


def test_the_configuration(tmp_path: Path) -> None:
    """The first main file, then what is dropped in, by name; a file of an earlier place hides its namesakes."""
    first, second = (tmp_path / name for name in ("etc", "usr"))
    for place in (first, second):
        (place / "logind.conf.d").mkdir(parents=True)
        (place / "logind.conf").write_text(f"main {place.name}")
        (place / "logind.conf.d/20.conf").write_text(f"20 {place.name}")
    (second / "logind.conf.d/10.conf").write_text("10 usr")
    assert logind.configuration([str(first), str(second)]) == ["main etc", "10 usr", "20 etc"]
    (first / "logind.conf").unlink()
    assert logind.configuration([str(first), str(second)])[0] == "main usr"


def test_this_process() -> None:
    """It is worked out for a real process, too, and for one that has gone."""
    assert isinstance(logind.warning(os.getpid()), str)
    assert logind.warning(2**22 + 1) == ""
