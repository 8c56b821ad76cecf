"""fleet_agent.tools.codex.argv: what a process is."""

import pytest

from fleet_agent.tools.codex.argv import is_codex, is_ephemeral, is_terminal, kind, runs_own_server

VENDOR = "/opt/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (f"{VENDOR}/bin/codex", True),
        (
            "/home/me/.codex/packages/app-server-daemon/releases/0.169.0-x86_64-unknown-linux-musl/bin/codex",
            True,
        ),
        (f"{VENDOR}/codex/codex-x86_64-unknown-linux-musl", True),
        ("/usr/local/bin/codex-aarch64-apple-darwin", True),
        ("codex-x86_64-un", True),  # another user's, cut by the kernel
        ("codex", True),
        ("/usr/bin/node", False),
        (f"{VENDOR}/bin/codex-code-mode-host", False),
        ("codex-linux-san", False),
        ("/usr/bin/mycodex", False),
        ("/home/codex/bin/bash", False),
        ("", False),
    ],
)
def test_the_native_binary_is_told_by_its_name(image: str, expected: bool) -> None:
    """The npm package, the daemon's copy, old releases and plain installs; never wrappers and helpers."""
    assert is_codex(image) is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "tui"),
        ("resume 01a1", "tui"),
        ("fork 01a1", "tui"),
        ("agents", "tui"),
        ("fix@the@parser", "tui"),
        ("--no-daemon -m gpt-5.5", "tui"),
        ("exec hello", "exec"),
        ("e hello", "exec"),
        ("review", "exec"),
        ("exec resume 01a1 go", "exec"),
        ("-a never exec x", "exec"),
        ("-c model=x --profile p --search exec x", "exec"),
        ("--config=a=b exec x", "exec"),
        ("app-server", "app-server"),
        ("app-server --listen ws://127.0.0.1:1", "app-server"),
        ("app-server --listen unix:// --analytics-default-enabled --managed-daemon", "daemon"),
        ("app-server daemon pid-update-loop", None),
        ("app-server proxy", None),
        ("mcp-server", "app-server"),
        ("--codex-run-as-process-setup 45 16540 pipe", None),
        ("--codex-run-as-apply-patch *** Begin", None),
        ("exec-server", None),
        ("login", None),
        ("sandbox linux ls", None),
    ],
)
def test_the_kind_is_told_by_the_arguments(arguments: str, expected: str | None) -> None:
    """Measured kinds of native processes; options and their values before the command do not confuse it."""
    argv = (f"{VENDOR}/bin/codex", *(word.replace("@", " ") for word in arguments.split()))
    assert kind(argv) == expected


@pytest.mark.parametrize(
    "program",
    ["codex-linux-sandbox", "/h/tmp/arg0-linux/codex-arg0X/codex-linux-sandbox", "/h/tmp/apply_patch"],
)
def test_a_helper_of_the_sandbox_is_no_session(program: str) -> None:
    """They run the same program under another argv[0]."""
    assert kind((program, "--sandbox-policy-cwd", "/x", "--", "bash")) is None


def test_no_arguments_at_all() -> None:
    """A process whose arguments cannot be read may be anything that holds sessions."""
    assert kind(()) == "tui"


def arguments(line: str) -> tuple[str, ...]:
    return ("codex", *(word.replace("@", " ") for word in line.split()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("exec --ephemeral x", True),
        ("-m gpt-5.5 exec --json --ephemeral", True),
        ("exec resume --ephemeral 01a1", True),
        ("exec x", False),
        ("exec -- --ephemeral", False),  # the prompt
        ("--ephemeral", False),
        ("exec-server --ephemeral", False),
    ],
)
def test_a_run_that_writes_nothing_down(line: str, expected: bool) -> None:
    """`--ephemeral` is told from a prompt of the same word; only `exec` has it."""
    assert is_ephemeral(arguments(line)) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", True),
        ("--no-daemon -m gpt-5.5", True),
        ("resume", True),
        ("fork 01a1", True),
        ("fix@the@parser", True),
        ("agents", False),
        ("exec x", False),
        ("mcp-server", False),
        ("frobnicate", False),  # maybe a command of a later release
    ],
)
def test_a_terminal_ui_for_one_conversation(line: str, expected: bool) -> None:
    """The command center, servers, and words that nobody knows are none."""
    assert is_terminal(arguments(line)) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--no-daemon", True),
        ("-c model=x", True),
        ("-cmodel=x", True),
        ("--config=model=x", True),
        ("-p work resume", True),
        ("--profile work", True),
        ("--disable daemon_auto_start", True),
        ("--disable=daemon_auto_start", True),
        ("", False),
        ("-m gpt-5.5 --yolo resume 01a1", False),
        ("-- --no-daemon", False),
    ],
)
def test_a_terminal_ui_that_does_not_use_the_daemon(line: str, expected: bool) -> None:
    """Options that make 0.163 and later hold the thread in the terminal UI's own process."""
    assert runs_own_server(arguments(line)) is expected
