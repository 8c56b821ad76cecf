"""fleet_agent.tools.codex.hooks.setup: install, uninstall, status."""

import json
import os
import stat
from pathlib import Path

import pytest

from fleet_agent.__main__ import main
from fleet_agent.tools.codex.hooks import entries, record, setup, trust
from fleet_agent.tools.codex.hooks.events import MAX_HOOKS_JSON_BYTES
from fleet_agent.tools.codex.hooks.setup import HooksError

THEIRS = '{\n  "hooks": {\n    "Stop": [\n      {\n        "hooks": []\n      }\n    ]\n  }\n}\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "codex"
    home.mkdir()
    return home


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "fleet-agent" / "hooks")


def test_install_says_what_it_did_and_how_to_trust_it(home: Path, state: str) -> None:
    """It adds the entries, makes the directory for its owner alone, and leaves the trust to the person."""
    said = setup.install(str(home), state)
    found = list(entries.ours(json.loads((home / "hooks.json").read_text())))
    assert [entry.event for entry in found] == ["PermissionRequest", "PreToolUse"]
    assert {(entry.recorder, entry.directory) for entry in found} == {(record.__file__, state)}
    assert found[0].definition["command"] in said
    assert "press t" in said
    assert stat.S_IMODE(os.stat(state).st_mode) == 0o700
    assert [path.name for path in home.iterdir()] == ["hooks.json"]


def test_it_can_be_installed_twice(home: Path, state: str) -> None:
    """The second time nothing is written."""
    setup.install(str(home), state)
    before = (home / "hooks.json").stat()
    assert "nothing was changed" in setup.install(str(home), state)
    assert (home / "hooks.json").stat() == before


def test_uninstall_leaves_the_file_as_it_was(home: Path, state: str) -> None:
    """Byte for byte, with its mode; what was recorded goes too, and nothing else does."""
    (home / "hooks.json").write_text(THEIRS)
    (home / "hooks.json").chmod(0o640)
    setup.install(str(home), state)
    record.record(state, {"session_id": "01a1", "hook_event_name": "PermissionRequest"}, 1.0)
    assert "Removed" in setup.uninstall(str(home))
    assert (home / "hooks.json").read_text() == THEIRS
    assert stat.S_IMODE((home / "hooks.json").stat().st_mode) == 0o640
    assert not os.path.exists(state)
    assert "nothing was changed" in setup.uninstall(str(home))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"hooks":{"Stop":[{"hooks":[]}]}}',
        '{\r\n  "hooks": { "Stop": [] }\r\n}\r\n',
        '{\n\n  "hooks": {"PermissionRequest": [], "Stop": [{"hooks": [], "odd": 1.10}]}}\n\n',
        None,
    ],
)
def test_uninstall_gives_back_what_was_there(home: Path, state: str, text: str | None) -> None:
    """However it was written; where there was no file, there is none again."""
    path = home / "hooks.json"
    if text is not None:
        path.write_bytes(text.encode())
    setup.install(str(home), state)
    setup.install(str(home), state)
    setup.uninstall(str(home))
    assert (path.read_bytes().decode() if path.exists() else None) == text
    assert not os.path.exists(state)


def test_uninstall_keeps_what_came_after_install(home: Path, state: str) -> None:
    """What is given back is never older than what others have written since."""
    (home / "hooks.json").write_text(THEIRS)
    setup.install(str(home), state)
    document = json.loads((home / "hooks.json").read_text())
    document["hooks"]["SessionStart"] = [{"hooks": []}]
    (home / "hooks.json").write_text(json.dumps(document))
    setup.uninstall(str(home))
    assert list(json.loads((home / "hooks.json").read_text())["hooks"]) == ["Stop", "SessionStart"]
    assert not os.path.exists(state)


def test_the_entries_of_an_older_agent_go_too(home: Path, state: str) -> None:
    """It kept no copy of what was there; and a newer agent that takes its place makes none of its entries."""
    (home / "hooks.json").write_text(THEIRS)
    setup.install(str(home), state)
    old = (home / "hooks.json").read_text().replace(record.__file__, f"/old/{entries.RECORDER}")
    setup.uninstall(str(home))
    (home / "hooks.json").write_text(old)
    setup.install(str(home), state)
    setup.uninstall(str(home))
    assert (home / "hooks.json").read_text() == THEIRS


def test_a_directory_that_cannot_be_made_is_said(home: Path, tmp_path: Path) -> None:
    """Before hooks.json is touched."""
    (tmp_path / "file").touch()
    with pytest.raises(HooksError, match="file/hooks cannot be written: Not a directory"):
        setup.install(str(home), str(tmp_path / "file/hooks"))
    assert not (home / "hooks.json").exists()


@pytest.mark.parametrize("at", ["1e300", "-1", "0", "1e18"])
def test_an_absurd_event_is_none(home: Path, state: str, at: str) -> None:
    """A file that no hook has written: neither a time nor a word of it is shown."""
    setup.install(str(home), state)
    Path(state, "01a1.json").write_text(f'{{"event":"PermissionRequest","at":{at}}}')
    Path(state, "01a2.json").write_text('{"event":"\\u001b[2J","at":5}')
    assert "Last event: none yet" in setup.status(str(home), 10.0)


def test_uninstall_removes_no_file_of_others(home: Path, tmp_path: Path) -> None:
    """Even if somebody has edited the directory in the entry."""
    setup.install(str(home), str(tmp_path))
    (tmp_path / "precious.json").touch()
    setup.uninstall(str(home))
    assert (tmp_path / "precious.json").exists()


def test_a_link_to_an_own_file_is_followed(home: Path, state: str, tmp_path: Path) -> None:
    """As those who keep such files in a repository have it: the link stays a link."""
    (tmp_path / "dotfile.json").write_text(THEIRS)
    (home / "hooks.json").symlink_to(tmp_path / "dotfile.json")
    setup.install(str(home), state)
    assert (home / "hooks.json").is_symlink()
    assert entries.RECORDER in (tmp_path / "dotfile.json").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(home: Path, state: str, tmp_path: Path) -> None:
    """Directly, and behind a link."""
    (tmp_path / "theirs.json").write_text(THEIRS)
    os.chown(tmp_path / "theirs.json", 65534, 65534)
    (home / "hooks.json").symlink_to(tmp_path / "theirs.json")
    with pytest.raises(HooksError, match=r"theirs.json belongs to \w+: run this as that user"):
        setup.install(str(home), state)
    assert (tmp_path / "theirs.json").read_text() == THEIRS


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is no hooks file that Codex reads: Expecting property name .* Mend it first"),
        (b"\xff", "is not UTF-8"),
        (b" " * (MAX_HOOKS_JSON_BYTES + 1), "is longer than 1 MiB"),
    ],
)
def test_a_file_that_is_no_hooks_json_is_left_alone(content: bytes, why: str, home: Path, state: str) -> None:
    """With the reason and the fix, by every verb."""
    (home / "hooks.json").write_bytes(content)
    for action in ("install", "uninstall", "status"):
        with pytest.raises(HooksError, match=why):
            setup.run(action, str(home), {"XDG_STATE_HOME": state})
    assert (home / "hooks.json").read_bytes() == content
    assert not os.path.exists(state)


def test_a_home_that_is_not_there_and_a_dangling_link(home: Path, state: str, tmp_path: Path) -> None:
    """Nothing is made up in their place."""
    with pytest.raises(HooksError, match="is no directory: start `codex` once"):
        setup.install(str(tmp_path / "nowhere"), state)
    (home / "hooks.json").symlink_to(tmp_path / "gone.json")
    with pytest.raises(HooksError, match=r"is a link to .*gone\.json, which is not there"):
        setup.install(str(home), state)


def test_a_change_by_somebody_else_is_not_lost(home: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codex or an editor writes the file while it is being changed: theirs stays, and it is said."""
    render = entries.render

    def meanwhile(document: entries.Json, like: str) -> str:
        (home / "hooks.json").write_text(THEIRS)
        return render(document, like)

    monkeypatch.setattr(entries, "render", meanwhile)
    with pytest.raises(HooksError, match="was changed by somebody else just now: run this again"):
        setup.install(str(home), state)
    assert [path.name for path in home.iterdir()] == ["hooks.json"]
    assert (home / "hooks.json").read_text() == THEIRS


def test_status_tells_each_entry_and_the_last_event(home: Path, state: str) -> None:
    """Not installed; not trusted; one trusted; a program that is gone."""
    assert setup.status(str(home), 0.0).count("not installed") == 2
    setup.install(str(home), state)
    assert setup.status(str(home), 0.0).count("installed, not trusted yet") == 2
    first = next(entries.ours(json.loads((home / "hooks.json").read_text())))
    key = trust.key(first, f"{os.path.realpath(home)}/hooks.json")
    (home / "config.toml").write_text(f'[hooks.state."{key}"]\ntrusted_hash = "{trust.fingerprint(first)}"\n')
    record.record(state, {"session_id": "01a1", "hook_event_name": "PermissionRequest"}, 1000.0)
    said = setup.status(str(home), 1007.0)
    assert "PermissionRequest: installed, trusted\n" in said
    assert "PreToolUse (request_user_input): installed, not trusted yet: see /hooks" in said
    assert "Last event: PermissionRequest at " in said
    assert ", 7 s ago" in said
    text = (home / "hooks.json").read_text()
    (home / "hooks.json").write_text(text.replace(record.__file__, f"/gone/{entries.RECORDER}"))
    assert "is gone: run `fleet-agent hooks install` again" in setup.status(str(home), 1007.0)


def test_a_config_that_cannot_be_read(home: Path, state: str) -> None:
    """Then Codex itself has to be asked."""
    setup.install(str(home), state)
    (home / "config.toml").write_text("[")
    assert "whether it is trusted, /hooks in Codex tells" in setup.status(str(home), 0.0)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/fleet-agent/hooks"),
        ({"XDG_STATE_HOME": "s", "HOME": "/h"}, "/h/.local/state/fleet-agent/hooks"),
        ({"HOME": "/h"}, "/h/.local/state/fleet-agent/hooks"),
    ],
)
def test_where_events_go(environ: dict[str, str], expected: str) -> None:
    """XDG_STATE_HOME if it is absolute, else its default."""
    assert setup.state_directory(environ) == expected


def test_the_command(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fleet-agent hooks` works on CODEX_HOME or --home; a refusal is on stderr, with exit status 1."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CODEX_HOME", str(home))
    assert main(["hooks", "install"]) == 0
    assert main(["hooks", "status"]) == 0
    assert main(["hooks", "uninstall"]) == 0
    assert capsys.readouterr().out.startswith("Added to ")
    assert main(["hooks", "status", "--home", "/nowhere"]) == 1
    assert capsys.readouterr().err.startswith("fleet-agent hooks: /nowhere is no directory")
