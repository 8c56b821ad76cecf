"""fleet_agent.panes: the terminal pane that a process is in."""

import os
import subprocess
import sys

import pytest

from fleet_agent.panes import claimed, pane
from fleet_agent.wire import Pane

TMUX = {"TMUX": "/tmp/tmux-1000/de,fault,4242,0", "TMUX_PANE": "%3"}
KITTY = {"KITTY_PID": "777", "KITTY_WINDOW_ID": "12", "KITTY_LISTEN_ON": "unix:/tmp/kitty-777"}


def test_what_an_environment_says() -> None:
    """tmux(1): the socket, the server's pid, the session; kitty names its window and its own pid."""
    assert claimed(TMUX) == {4242: Pane("tmux", "%3", "/tmp/tmux-1000/de,fault")}
    assert claimed(KITTY) == {777: Pane("kitty", "12", "unix:/tmp/kitty-777")}
    assert claimed({**KITTY, "KITTY_LISTEN_ON": ""}) == {777: Pane("kitty", "12")}
    assert set(claimed(TMUX | KITTY)) == {4242, 777}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"TMUX": TMUX["TMUX"]},
        {**TMUX, "TMUX_PANE": "3; rm -rf /"},
        {**TMUX, "TMUX": "nonsense"},
        {**TMUX, "TMUX": ",4242,0"},
        {**KITTY, "KITTY_WINDOW_ID": "x"},
        {"KITTY_WINDOW_ID": "12"},
    ],
)
def test_what_is_not_of_their_form_says_nothing(environ: dict[str, str]) -> None:
    """An environment is whatever somebody put there."""
    assert claimed(environ) == {}


def test_the_server_must_be_a_parent_of_the_process() -> None:
    """An editor that was started in a tmux pane gives TMUX to its own terminals: they are not that pane."""
    me, mine = os.getpid(), os.getppid()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        inside = {**TMUX, "TMUX": f"/tmp/s,{me},0"}
        assert pane(process.pid, inside) == Pane("tmux", "%3", "/tmp/s")
        assert pane(process.pid, {**TMUX, "TMUX": f"/tmp/s,{process.pid},0"}) is None
        assert pane(process.pid, TMUX) is None
        assert pane(process.pid, {}) is None
        # Both are its parents: the nearest has the pane.
        assert pane(process.pid, inside | {**KITTY, "KITTY_PID": str(mine)}) == Pane("tmux", "%3", "/tmp/s")
        kitty = {**KITTY, "KITTY_PID": str(me)}
        assert pane(process.pid, {**TMUX, "TMUX": f"/tmp/s,{mine},0"} | kitty) == Pane(
            "kitty", "12", "unix:/tmp/kitty-777"
        )
        process.communicate(b"\n")


def test_a_process_that_is_gone_is_in_no_pane() -> None:
    """Processes end while they are looked at."""
    assert pane(2**22 + 1, TMUX) is None
