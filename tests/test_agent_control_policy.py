"""What may be answered without a person."""

import os
import re
from pathlib import Path

import pytest

from fleet_agent.control.policy import NOTHING, BadPolicy, Policy, Rule, load, parse, path_of, plain_words

GIT_STATUS = "/bin/bash -lc 'git status'"


def policy(*command: str, cwd: str | None = None, escalated: bool = False) -> Policy:
    return Policy((Rule(command, cwd, escalated),))


def allows(rules: Policy, command: str, cwd: str | None = "/srv/x", *, escalated: bool = False) -> bool:
    return rules.allows(command, cwd, escalated=escalated)


def test_by_default_nothing_is_allowed(tmp_path: Path) -> None:
    """No file, no answers."""
    assert load(str(tmp_path / "policy.json")) == NOTHING
    assert not allows(NOTHING, GIT_STATUS)


def test_a_rule_allows_commands_that_begin_with_its_words() -> None:
    """Whole words, in their order; through the shell that Codex runs them with, or without."""
    rules = policy("git", "status")
    assert allows(rules, GIT_STATUS)
    assert allows(rules, "git status --short")
    assert allows(rules, '/bin/sh -c "git  status"')
    for other in ("git", "git push", "git statusx", "'git status'", "xgit status", "status git"):
        assert not allows(rules, other), other


@pytest.mark.parametrize(
    "command",
    [
        "git status; rm -rf /",
        "git status && rm x",
        "git status | sh",
        "git status > /etc/passwd",
        "git status < x",
        "git status $(rm x)",
        "git status `rm x`",
        "git status $HOME",
        "git status *",
        "git status ?",
        "git status {a,b}",
        "git status ~/x",
        "git status \\; rm",
        "git status\nrm x",
        "git status &",
        "git status (x)",
        "git status # x",
        "git status !x",
        "git status 'x",
        "! git status",
        "X=1 git status",
    ],
)
def test_a_command_that_a_shell_makes_more_of_is_never_allowed(command: str) -> None:
    """Neither as it stands nor inside of what Codex's shell is given."""
    rules = policy("git", "status")
    assert not allows(rules, command)
    assert not allows(rules, f"/bin/bash -lc {_quoted(command)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def test_a_shell_that_the_model_brought_along_is_not_taken_for_one() -> None:
    """It may run anything, whatever its words say."""
    rules = policy("git", "status")
    for shell in ("/tmp/bash", "./bash", "bash", "/srv/x/bin/sh"):
        assert not allows(rules, f"{shell} -lc 'git status'")
    assert not allows(rules, "/bin/bash --rcfile /tmp/x -lc 'git status'")
    assert not allows(rules, "/bin/bash -lc 'git status' extra")


def test_a_rule_holds_in_its_directory_and_below(tmp_path: Path) -> None:
    """Not beside it, not through a link out of it, and not where the directory is not known."""
    inside, outside = tmp_path / "in", tmp_path / "inner"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    rules = policy("git", "status", cwd=str(inside))
    assert allows(rules, "git status", str(inside))
    assert allows(rules, "git status", str(inside / "deep"))
    for where in (str(outside), str(inside / "link"), str(inside / ".." / "inner"), str(tmp_path), None):
        assert not allows(rules, "git status", where), where


def test_more_rights_than_the_sandbox_s_must_be_said() -> None:
    """A rule is for commands within it, unless it says otherwise."""
    assert not allows(policy("git", "status"), GIT_STATUS, escalated=True)
    assert allows(policy("git", "status", escalated=True), GIT_STATUS, escalated=True)


def test_words_of_a_command() -> None:
    """As a shell splits them, where it does nothing else."""
    assert plain_words("git commit -m 'a b'") == ("git", "commit", "-m", "a b")
    assert plain_words("") is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "policy.json"),
        (b"nonsense", "policy.json"),
        (b"[]", "policy.json"),
        (b'{"alow": []}', "alow"),
        (b'{"allow": [{"comand": ["x"]}]}', "comand"),
        (b'{"allow": [{"command": []}]}', "$.allow[0].command"),
        (b'{"allow": [{"command": "git status"}]}', "$.allow[0].command"),
        (b'{"allow": [{"command": [""]}]}', "$.allow[0].command"),
        (b'{"allow": [{"command": ["git"], "cwd": "srv"}]}', "$.allow[0].cwd"),
        (b'{"allow": [{"command": ["git"], "escalated": "yes"}]}', "$.allow[0].escalated"),
        (b"[" * 200_000, "policy.json"),
    ],
)
def test_a_wrong_file_is_refused_whole(content: bytes, named: str) -> None:
    """The message names the file, the key, and what it should look like."""
    with pytest.raises(BadPolicy) as refused:
        parse(content, "/home/dev/policy.json")
    message = str(refused.value)
    assert message.startswith("/home/dev/policy.json: ")
    assert named in message
    assert '{"allow": [{"command":' in message


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """They could have commands run; the message says how to mend it."""
    path = tmp_path / "policy.json"
    path.write_text('{"allow": [{"command": ["git", "status"]}]}')
    path.chmod(0o600)
    assert allows(load(str(path)), GIT_STATUS)
    for mode in (0o620, 0o602):
        path.chmod(mode)
        with pytest.raises(BadPolicy, match="chmod 600"):
            load(str(path))
    with pytest.raises(BadPolicy, match="not a file"):
        load(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Whatever its mode."""
    path = tmp_path / "policy.json"
    path.write_text("{}")
    os.chown(path, 12345, 12345)
    with pytest.raises(BadPolicy, match="belongs to uid 12345; chown"):
        load(str(path))


def test_the_documented_policy_is_one() -> None:
    """The example of docs/approvals.md is read as it stands, and its table has each key."""
    page = (Path(__file__).parent.parent / "docs/approvals.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert [rule.escalated for rule in parse(example.encode(), "approvals.md").allow] == [False, True]
    assert tuple(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == Rule.__struct_fields__


def test_where_the_file_is() -> None:
    """Where configuration is kept."""
    assert path_of({"HOME": "/home/dev"}) == "/home/dev/.config/fleet-agent/policy.json"
    assert path_of({"XDG_CONFIG_HOME": "/etc/xdg"}) == "/etc/xdg/fleet-agent/policy.json"
