"""fleet_agent.control.commands: argv of each tool, release and mode. That the tools take them: tests/e2e."""

import shlex

import pytest

from fleet_agent.control import commands, wire
from fleet_agent.control.commands import NotPossible

ID = "01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6"
PROMPT = "say \u2018hi\u2019; $(rm x)\nand more"


def start(**asked: object) -> wire.Start:
    return wire.Start(**{"prompt": PROMPT, **asked})  # type: ignore[arg-type]


def words(command: commands.Command) -> str:
    return shlex.join(command.argv)


@pytest.mark.parametrize(
    ("asked", "argv"),
    [
        ({}, "/c exec --json -"),
        ({"resume": ID}, f"/c exec --json resume {ID} -"),
        (
            {"resume": ID, "approval": "never", "sandbox": "read-only", "cwd": "/w", "model": "m"},
            f"/c -a never exec -s read-only -C /w -m m --json resume {ID} -",
        ),
        ({"fork": ID, "sandbox": "read-only"}, f"/c exec -s read-only --json fork {ID} -"),
        (
            {"arguments": ("--skip-git-repo-check", "-i", "a.png"), "resume": ID},
            f"/c exec --skip-git-repo-check -i a.png --json resume {ID} -",
        ),
    ],
)
def test_codex_exec(asked: dict[str, object], argv: str) -> None:
    """-a before exec, -s and -C before resume; the prompt is on stdin; a check is skipped only if asked for."""
    command = commands.exec_command("codex", "0.169.0", start(**asked), "/c")
    assert words(command) == argv
    assert command.stdin.decode() == PROMPT


@pytest.mark.parametrize(
    ("asked", "argv"),
    [
        ({}, "/c -p --input-format text --output-format stream-json --verbose"),
        (
            {"fork": ID},
            f"/c -p --resume {ID} --fork-session --input-format text --output-format stream-json --verbose",
        ),
        (
            {
                "resume": ID,
                "approval": "plan",
                "model": "opus",
                "arguments": ("--allowedTools", "Bash", "Edit"),
            },
            f"/c -p --allowedTools Bash Edit --model opus --permission-mode plan --resume {ID} "
            "--input-format text --output-format stream-json --verbose",
        ),
    ],
)
def test_claude_exec(asked: dict[str, object], argv: str) -> None:
    """The event stream, with everything that is asked before the formats; the prompt is on stdin."""
    command = commands.exec_command("claude", None, start(**asked), "/c")
    assert words(command) == argv
    assert command.stdin.decode() == PROMPT


@pytest.mark.parametrize(
    ("tool", "asked", "argv"),
    [
        ("codex", {}, "/t"),
        (
            "codex",
            {"resume": ID, "model": "m", "sandbox": "read-only", "approval": "on-request", "cwd": "/w"},
            f"/t resume {ID} -m m -s read-only -a on-request -C /w",
        ),
        ("codex", {"arguments": ("--no-daemon",), "fork": ID}, f"/t fork {ID} --no-daemon"),
        ("claude", {"resume": ID, "approval": "default"}, f"/t --permission-mode default --resume {ID}"),
        ("opencode", {"resume": "ses_a1", "model": "p/m"}, "/t --model p/m --session ses_a1"),
        ("claude", {"fork": ID}, f"/t --resume {ID} --fork-session"),
        ("opencode", {"fork": "ses_a1"}, "/t --session ses_a1 --fork"),
        ("htop", {"arguments": ("-d", "5")}, "/t -d 5"),
    ],
)
def test_terminal_uis(tool: str, asked: dict[str, object], argv: str) -> None:
    """Every tool's own terminal UI, and any other command, never with the prompt in its argv."""
    command = commands.terminal_command(tool, None, start(tool=tool, **asked), "/t")
    assert words(command) == argv
    assert command.stdin.decode() == PROMPT


@pytest.mark.parametrize(
    ("tool", "release", "asked", "kind", "says"),
    [
        ("opencode", None, {}, "not_possible", "no mode exec"),
        ("codex", None, {"prompt": None}, "bad_request", "needs a prompt"),
        ("codex", None, {"prompt": " \n"}, "bad_request", "needs a prompt"),
        ("codex", None, {"cwd": "work"}, "bad_request", "not an absolute path: work"),
        ("codex", None, {"cwd": "/a\0b"}, "bad_request", "NUL"),
        ("codex", None, {"resume": "my session"}, "bad_request", "not the id of a codex session: my session"),
        ("codex", None, {"resume": "--last"}, "bad_request", "not the id"),
        ("codex", None, {"fork": "my session"}, "bad_request", "not the id of a codex session: my session"),
        ("codex", "0.145.0", {"fork": ID}, "not_possible", "codex 0.145.0 has no `codex exec fork`"),
        ("codex", "0.150.0", {"approval": "untrusted"}, "bad_request", "codex 0.150.0 has no approval policy"),
        ("codex", None, {"approval": "on-failure"}, "bad_request", "on-failure"),
        ("codex", None, {"sandbox": "none"}, "bad_request", "no sandbox none"),
        ("codex", None, {"model": "--yolo"}, "bad_request", "--yolo looks like an option"),
        ("codex", None, {"arguments": ("-a", "never")}, "bad_request", "codex exec does not take -a"),
        ("codex", "0.169.0", {"arguments": ("--full-auto",)}, "bad_request", "does not take --full-auto"),
        ("codex", None, {"arguments": ("--json",)}, "bad_request", "--json is fleet's to choose"),
        ("claude", None, {"arguments": ("--output-format=text",)}, "bad_request", "fleet's to choose"),
        ("claude", None, {"sandbox": "read-only"}, "not_possible", "no sandbox"),
        ("claude", None, {"approval": "never"}, "bad_request", "no permission mode never"),
    ],
)
def test_what_a_tool_does_not_take(
    tool: str, release: str | None, asked: dict[str, object], kind: str, says: str
) -> None:
    """It is refused in words that name the thing and the fix, before anything is started."""
    with pytest.raises(NotPossible) as caught:
        commands.exec_command(tool, release, start(tool=tool, **asked), "/c")
    refused = caught.value.refused()
    assert refused.kind == kind
    assert says in refused.message
    assert refused.hint
    assert refused.kind in wire.REFUSALS


def test_an_older_codex_has_another_policy() -> None:
    """0.145 takes untrusted."""
    asked = start(approval="untrusted")
    assert commands.exec_command("codex", "0.145.0", asked, "/c").argv[:3] == ("/c", "-a", "untrusted")


def test_any_command_has_only_its_own_options() -> None:
    """What fleet has no word for in a tool is to be given as that tool's own option."""
    with pytest.raises(NotPossible, match="knows no option of htop for --model"):
        commands.terminal_command("htop", None, start(tool="htop", model="m"), "/t")
    with pytest.raises(NotPossible, match="knows no option of htop for --fork"):
        commands.terminal_command("htop", None, start(tool="htop", fork=ID), "/t")


def test_environment() -> None:
    """What marks another session is not handed on; the run's own name is."""
    command = commands.exec_command("codex", None, start(name="brave-bear"), "/c")
    inherited = {"HOME": "/h", "CODEX_THREAD_ID": "x", "CLAUDECODE": "1", "CODEX_HOME": "/c"}
    assert commands.environment(inherited, command) == {
        "HOME": "/h",
        "CODEX_HOME": "/c",
        "FLEET_RUN": "brave-bear",
    }


def test_resume_for_a_person() -> None:
    """The tool's own words, and only for a whole id."""
    assert commands.resume_command("codex", ID) == ("codex", "resume", ID)
    assert commands.resume_command("claude", ID) == ("claude", "--resume", ID)
    assert commands.resume_command("opencode", "ses_a1") == ("opencode", "--session", "ses_a1")
    for tool, session_id in (("gemini", ID), ("codex", ID[:8]), ("claude", f"{ID};x")):
        with pytest.raises(NotPossible):
            commands.resume_command(tool, session_id)
