"""Fleet's hooks in the real Codex, without its daemon: what they tell, when they are trusted and when not."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fleet_agent.scan import Scanner
from fleet_agent.tools.codex.find import Codex
from fleet_agent.tools.codex.hooks import entries, trust
from lab import LabError
from lab.codex import CodexHome
from lab.mock_responses import MockResponses
from lab.tmux import Tmux
from lab.waiting import wait_until

pytestmark = pytest.mark.codex

LOOK_FOR_S = 20.0
POINTER = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"  # before the line of a dialog that is chosen
ASKS = "\n[features]\ndefault_mode_request_user_input = true\n"
Told = tuple[str, str | None, str | None, str]


@pytest.fixture
def home(mock_api: MockResponses) -> Iterator[CodexHome]:
    """A home in which Codex asks before it changes anything, with fleet's hooks installed."""
    with CodexHome(mock_api.url, approval="on-request", sandbox="read-only", config=ASKS) as home:
        assert "Added to" in agent(home, "hooks", "install")
        yield home


def agent(home: CodexHome, *arguments: str) -> str:
    """What `fleet-agent` prints, run as the person would."""
    environ = {name: value for name, value in home.env.items() if name != "XDG_STATE_HOME"}
    argv = [sys.executable, "-m", "fleet_agent", *arguments]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout


def listed(home: CodexHome) -> list[dict[str, Any]]:
    """The hooks as Codex's own server lists them, with the hash that it would trust."""
    server = subprocess.Popen(
        [home.codex, "app-server"], env=home.env, cwd=home.project, text=True, stderr=subprocess.DEVNULL,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdin
    assert server.stdout
    client = {"name": "lab", "title": "lab", "version": "1"}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": client}},
        {"method": "initialized"},
        {"id": 2, "method": "hooks/list", "params": {"cwds": [str(home.project)]}},
    ]
    with server:
        server.stdin.writelines(json.dumps(message) + "\n" for message in messages)
        server.stdin.flush()
        answer = next(found for line in server.stdout if (found := json.loads(line)).get("id") == 2)
    (of_project,) = answer["result"]["data"]
    assert not of_project["errors"] + of_project["warnings"]
    hooks: list[dict[str, Any]] = of_project["hooks"]
    return hooks


def trust_all(home: CodexHome) -> None:
    """What Codex writes when a person presses t at every hook."""
    with (home.home / "config.toml").open("a") as config:
        for hook in listed(home):
            config.write(f'\n[hooks.state."{hook["key"]}"]\ntrusted_hash = "{hook["currentHash"]}"\n')


def first_terminal(home: CodexHome, answer: dict[str, str]) -> Tmux:
    """A terminal UI whose question about new hooks was answered: by which keys, and what each brings up."""
    terminal = Tmux(home.root / "tmux", [str(home.codex), "--no-daemon"], cwd=home.project, env=home.env)
    terminal.wait_for("Hooks need review", timeout_s=60)
    for key, then in answer.items():
        wait_until(lambda: press(terminal, key, then), f"{then!r} is shown", timeout_s=60)  # noqa: B023
    return terminal


def press(terminal: Tmux, key: str, then: str) -> str | None:
    """What is on the screen after it. The dialog is drawn before it listens: a key may be lost."""
    terminal.press(key)
    with contextlib.suppress(LabError):
        return terminal.wait_for(then, timeout_s=5)
    return None


class Seen:
    """The one session of a home, as a stream sees it reading after reading, and as one `snapshot` does."""

    def __init__(self, home: CodexHome) -> None:
        self._home = home
        self._scanner = Scanner((Codex(environ=home.env),))

    def until(self, *wanted: str) -> None:
        """Wait for a state, detail, evidence and confidence, seen by both ways."""
        for seen in (self._streamed, self._snapshot):
            wait_until(lambda: seen() == wanted, ", ".join(wanted), timeout_s=LOOK_FOR_S)  # noqa: B023

    def _streamed(self) -> Told | None:
        ours = [s for s in self._scanner.scan().sessions if s.home == str(self._home.home)]
        return (ours[0].state, ours[0].detail, ours[0].evidence, ours[0].confidence) if ours else None

    def _snapshot(self) -> Told:
        sessions = json.loads(agent(self._home, "snapshot").splitlines()[-1])["sessions"]
        (ours,) = [s for s in sessions if s["home"] == str(self._home.home)]
        return ours["state"], ours["detail"], ours["evidence"], ours.get("confidence", "weak")


def test_what_trusted_hooks_tell(home: CodexHome) -> None:
    """A patch and a question that wait for a person: said by the hook, for as long as they wait and no longer.

    Without it, the patch is only a weak guess.
    """
    terminal = first_terminal(home, {"Down": f"{POINTER} 2. Trust all", "Enter": "Ask Codex"})
    assert agent(home, "hooks", "status").count("installed, trusted") == 2
    seen = Seen(home)
    terminal.type("PATCH x.txt ;; SAY patched")
    terminal.wait_for("Press enter to confirm")
    seen.until("waiting", "approval", "hook", "strong")
    terminal.press("y")
    terminal.wait_for("patched")
    seen.until("idle", "turn_done", "lifecycle", "fact")
    terminal.type("ASK which ;; ESC sleep 60")
    seen.until("waiting", "question", "hook", "strong")
    terminal.press("Enter")
    terminal.wait_for("Press enter to confirm")
    seen.until("waiting", "approval", "hook", "strong")
    terminal.press("y")
    seen.until("working", "tool", "pending_call", "strong")
    assert "Hook failed" not in terminal.screen()
    assert "Last event: PermissionRequest at" in agent(home, "hooks", "status")


def test_untrusted_hooks_change_nothing(home: CodexHome) -> None:
    """Codex passes them over; the state comes from where it came before, and `hooks status` says why."""
    terminal = first_terminal(home, {"Escape": "Ask Codex"})
    terminal.type("PATCH x.txt ;; SAY patched")
    terminal.wait_for("Press enter to confirm")
    Seen(home).until("waiting", "approval", "pending_call", "weak")
    told = agent(home, "hooks", "status")
    assert told.count("installed, not trusted yet") == 2
    assert "none yet" in told


def test_exec_is_not_disturbed(home: CodexHome) -> None:
    """A run that never asks anybody starts no hook, trusted or not."""
    trust_all(home)
    done = home.exec("TOOL true ;; SAY done")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "hook" not in done.stderr
    assert "none yet" in agent(home, "hooks", "status")


def test_the_hash_is_codexs_own(home: CodexHome) -> None:
    """What `hooks status` compares is what Codex would trust: the same places, the same hashes."""
    path = home.home / "hooks.json"
    ours = list(entries.ours(json.loads(path.read_text())))
    computed = {trust.key(entry, str(path)): trust.fingerprint(entry) for entry in ours}
    assert computed == {hook["key"]: hook["currentHash"] for hook in listed(home)}
