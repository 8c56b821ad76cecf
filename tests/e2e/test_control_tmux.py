"""The real Codex, Claude Code and OpenCode in tmux: prompted, steered, interrupted, answered, stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import ANY

import pytest

from fleet_agent.control import keys, terminal, tmux, wire
from fleet_agent.control.commands import NotPossible, terminal_command
from fleet_agent.control.events import ApprovalRequested
from fleet_agent.control.store import Ended
from fleet_agent.control.tmux import Begun, Terminal
from lab import procs
from lab.claude import ClaudeHome
from lab.codex import CodexHome
from lab.mock_anthropic import MockAnthropic
from lab.mock_responses import MockResponses
from lab.opencode import OpencodeHome
from lab.waiting import wait_until

NAME = "brave-bear"
WITHIN_S = 30.0


@contextmanager
def running(
    tool: str,
    program: Path,
    home: CodexHome | ClaudeHome | OpencodeHome,
    monkeypatch: pytest.MonkeyPatch,
    **asked: object,
) -> Iterator[Begun]:
    """A run in a tmux server of its own; what is asked of it is not."""
    start = wire.Start(tool=tool, mode="tmux", name=NAME, cwd=str(home.project), **asked)  # type: ignore[arg-type]
    command = terminal_command(tool, getattr(home, "version", None), start, str(program))
    with monkeypatch.context() as patched:
        for name in [name for name in os.environ if name.startswith(("CODEX_", "CLAUDE", "ANTHROPIC_"))]:
            patched.delenv(name)
        for name, value in home.env.items():
            patched.setenv(name, value)
        path = {"PATH": os.environ["PATH"]}
        begun = tmux.start(
            tool, command, str(home.project), NAME, environ=path, socket=str(home.root / "server")
        )
        try:
            yield begun
        except Exception:
            print(begun.terminal, terminal.look(begun.terminal).text, sep="\n")
            raise
        finally:
            tmux.forget(begun.terminal, NAME)


def asked(session: Terminal) -> ApprovalRequested:
    """The approval prompt, as soon as it is there."""
    return wait_until(lambda: tmux.pending(session), "it asks", timeout_s=WITHIN_S)


def shows(session: Terminal, text: str) -> None:
    """Wait until its screen has this text, and no turn runs."""

    def look() -> bool:
        shown = terminal.look(session)
        return text in shown.text and shown.screen.draft is not None and not shown.screen.working

    wait_until(look, f"its screen has {text!r}", timeout_s=WITHIN_S)


def held(api: MockResponses | MockAnthropic, name: str) -> None:
    wait_until(lambda: api.holds(name), f"the model is asked to hold {name}", timeout_s=WITHIN_S)


def losing_an_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next Enter gets lost on its way."""
    press = terminal.press
    lost: list[str] = []

    def pressed(session: Terminal, shown: terminal.Shown, key: str, mark: str = "") -> bool:
        if key == "Enter" and not lost:
            lost.append(key)
            return True
        return press(session, shown, key, mark)

    monkeypatch.setattr(terminal, "press", pressed)
    monkeypatch.setattr(keys, "TAKEN_S", 1.0)


CODEX = [
    pytest.param("0.169.0", False, marks=pytest.mark.codex, id="0.169-own"),
    pytest.param("0.169.0", True, marks=pytest.mark.codex, id="0.169-daemon"),
    pytest.param("0.145.0", False, marks=pytest.mark.old_codex, id="0.145"),
]


@pytest.mark.parametrize(("version", "daemon"), CODEX)
def test_codex(mock_api: MockResponses, monkeypatch: pytest.MonkeyPatch, version: str, daemon: bool) -> None:
    """A session lives its whole life by the keys that its own terminal UI takes, and nothing is done twice."""
    own = () if daemon or version != "0.169.0" else ("--no-daemon",)
    with CodexHome(mock_api.url, version=version, approval="on-request", sandbox="read-only") as home:
        prompt = f"HOLD {home.root}-1 SAY the first\nand only"
        with running("codex", home.codex, home, monkeypatch, prompt=prompt, arguments=own) as begun:
            assert begun.trouble is None
            codex = begun.terminal
            held(mock_api, f"{home.root}-1")
            assert tmux.send(codex, f"HOLD {home.root}-2 SAY steered").message == "sent into the running turn"
            mock_api.release(f"{home.root}-1")
            held(mock_api, f"{home.root}-2")
            assert tmux.interrupt(codex).message
            shows(codex, "Conversation interrupted")
            answer_codex(codex, home)
            tmux.send(codex, f"HOLD {home.root}-3 SAY never")
            held(mock_api, f"{home.root}-3")
            assert tmux.stop(codex, grace_s=30) == []
            assert tmux.ended(codex) is not None
            assert not codex.process.lives()
            (rollout,) = home.rollouts()
            ended = lambda: rollout.read_text().count('"type":"turn_aborted"') == 3  # noqa: E731
            wait_until(ended, "its turn is ended, as the two before that were", timeout_s=WITHIN_S)
            left = [process.describe() for process in procs.carrying(CODEX_HOME=str(home.home))]
            assert any("--managed-daemon" in each for each in left) == daemon  # it is not this session's alone


def answer_codex(codex: Terminal, home: CodexHome) -> None:
    """Approve a command, deny a command, approve a patch."""
    for name in ("yes", "no"):
        tmux.send(codex, f"ESC touch {home.root}/{name} ;; SAY now {name}")
        request = asked(codex)
        assert request.command == f"touch {home.root}/{name}"
        with pytest.raises(NotPossible, match="waits for an answer"):
            tmux.send(codex, "more")
        tmux.decide(codex, "accept" if name == "yes" else "decline", request.request_id)
        shows(codex, "now yes" if name == "yes" else "You canceled the request")
        with pytest.raises(NotPossible) as late:
            tmux.decide(codex, "accept", request.request_id)
        assert late.value.kind == "already_resolved"
    assert [(home.root / name).exists() for name in ("yes", "no")] == [True, False]
    tmux.send(codex, "PATCH patched.txt ;; SAY now patched")
    patch = asked(codex)
    assert (patch.kind, "patched.txt" in (patch.reason or "")) == ("patch", True)
    tmux.decide(codex, "accept", patch.request_id)
    shows(codex, "now patched")
    assert (home.project / "patched.txt").exists()


@pytest.mark.codex
def test_codex_asks_for_trust(mock_api: MockResponses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that nobody trusted yet: the run waits for a person, untouched, and that is said."""
    with CodexHome(mock_api.url) as home:
        config = home.home / "config.toml"
        config.write_text(config.read_text().replace(f'projects."{home.project}"', 'projects."/nowhere"'))
        with running("codex", home.codex, home, monkeypatch, prompt="x", arguments=("--no-daemon",)) as begun:
            assert begun.trouble is not None
            assert "to be trusted" in begun.trouble.message
            assert "Trust this folder?" in tmux.history(begun.terminal)


@pytest.mark.claude
def test_claude(
    mock_anthropic: MockAnthropic, claude_home: ClaudeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same life of a Claude Code, which shows no colours."""
    home, api = claude_home, mock_anthropic
    monkeypatch.setenv("NO_COLOR", "1")
    prompt = f"HOLD {home.root}-1 SAY the first\nand only"
    with running("claude", home.claude, home, monkeypatch, prompt=prompt, approval="default") as begun:
        assert begun.trouble is None
        claude = begun.terminal
        held(api, f"{home.root}-1")
        losing_an_enter(monkeypatch)
        tmux.send(claude, "SAY steered")
        api.release(f"{home.root}-1")
        shows(claude, "steered")
        tmux.send(claude, f"HOLD {home.root}-2 SAY never")
        held(api, f"{home.root}-2")
        assert tmux.interrupt(claude).message
        answer_claude(claude, home)
        assert tmux.stop(claude, grace_s=30) == []
        assert not claude.process.lives()
        assert tmux.ended(claude) == Ended(ANY, 143, None)  # it ends by itself on SIGTERM
        assert "claude --permission-mode default --resume" in tmux.history(claude)


def answer_claude(claude: Terminal, home: ClaudeHome) -> None:
    """Approve a command, deny a command, approve a file; leave a question to a person."""
    for name in ("yes", "no"):
        tmux.send(claude, f"RUN touch {home.root}/{name} ;; SAY now {name}")
        request = asked(claude)
        assert request.command == f"touch {home.root}/{name}"
        tmux.decide(claude, "accept" if name == "yes" else "decline", request.request_id)
        shows(claude, "now yes" if name == "yes" else "Did not run 1 call")
    assert [(home.root / name).exists() for name in ("yes", "no")] == [True, False]
    tmux.send(claude, f"WRITE {home.project}/written.txt hello ;; SAY now written")
    request = asked(claude)
    assert (request.kind, "written.txt" in (request.reason or "")) == ("tool", True)
    tmux.decide(claude, "accept", request.request_id)
    shows(claude, "now written")
    assert (home.project / "written.txt").exists()
    tmux.send(claude, "ASK")
    wait_until(lambda: "Which colour?" in terminal.look(claude).text, "it asks", timeout_s=WITHIN_S)
    with pytest.raises(NotPossible, match="no input box"):
        tmux.send(claude, "Red")
    assert tmux.pending(claude) is None


@pytest.mark.claude
def test_claude_asks_for_trust(mock_anthropic: MockAnthropic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that nobody trusted yet is left to a person."""
    with (
        ClaudeHome(mock_anthropic.url, trusted=False) as home,
        running("claude", home.claude, home, monkeypatch, prompt="x") as begun,
    ):
        assert begun.trouble is not None
        assert "to be trusted" in begun.trouble.message
        assert begun.terminal.process.lives()


@pytest.mark.opencode
def test_opencode(
    mock_anthropic: MockAnthropic, opencode_home: OpencodeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same life of an OpenCode, which loses an Enter on its way."""
    home, api = opencode_home, mock_anthropic
    prompt = f"HOLD {home.root}-1 SAY the first\nand only"
    with running("opencode", home.opencode, home, monkeypatch, prompt=prompt) as begun:
        assert begun.trouble is None
        opencode = begun.terminal
        held(api, f"{home.root}-1")
        losing_an_enter(monkeypatch)
        assert tmux.send(opencode, "SAY steered").message == "sent into the running turn"
        assert tmux.interrupt(opencode).message == "interrupted"
        answer_opencode(opencode, home)
        assert tmux.stop(opencode, grace_s=30) == []
        assert not opencode.process.lives()


def answer_opencode(opencode: Terminal, home: OpencodeHome) -> None:
    """Approve a command, deny a command."""
    for name in ("yes", "no"):
        tmux.send(opencode, f"RUN touch {home.root}/{name} ;; SAY now {name}")
        request = asked(opencode)
        assert request.command == f"touch {home.root}/{name}"
        with pytest.raises(NotPossible, match="waits for an answer"):
            tmux.send(opencode, "more")
        tmux.decide(opencode, "accept" if name == "yes" else "decline", request.request_id)
        shows(opencode, "now yes" if name == "yes" else f"touch {home.root}/no")
    assert [(home.root / name).exists() for name in ("yes", "no")] == [True, False]
