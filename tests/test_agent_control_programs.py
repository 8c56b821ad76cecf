"""fleet_agent.control.programs: where a tool is, and which release."""

import os
from pathlib import Path

import pytest

from fleet_agent.control import programs


def program(path: Path, script: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "place",
    [".local/bin", ".npm-global/bin", ".nvm/versions/node/v22.1.0/bin", ".volta/bin", ".claude/local"],
)
def test_a_tool_is_found_where_no_path_leads(tmp_path: Path, place: str) -> None:
    """The PATH of a non-interactive shell lacks what nvm, npm and pipx add in ~/.bashrc."""
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    assert programs.find("codex-x", environ) is None
    expected = program(tmp_path / place / "codex-x")
    assert programs.find("codex-x", environ) == expected
    assert programs.path_for(expected, environ).split(":")[0] == str(tmp_path / place)


def test_what_path_says_comes_first(tmp_path: Path) -> None:
    """The user's own choice; but for relative entries, and what is no program."""
    on_path = program(tmp_path / "mine/codex-x")
    program(tmp_path / ".local/bin/codex-x")
    (tmp_path / "dir/codex-x").mkdir(parents=True)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/codex-x").write_text("no program")
    path = f".:mine::{tmp_path}/dir:{tmp_path}/text:{tmp_path}/mine"
    assert programs.find("codex-x", {"HOME": str(tmp_path), "PATH": path}) == on_path


def test_the_newest_node_of_several(tmp_path: Path) -> None:
    """By number, not by letter."""
    for version in ("v8.9.0", "v22.10.0", "v22.9.1"):
        program(tmp_path / f".nvm/versions/node/{version}/bin/codex-x")
    found = programs.find("codex-x", {"HOME": str(tmp_path), "PATH": ""})
    assert found
    assert "/v22.10.0/" in found


def test_a_release_is_asked_once_for_each_file(tmp_path: Path) -> None:
    """npm gives all files one mtime: an update with the same size and mtime is seen all the same."""
    cache = str(tmp_path / "state/releases.json")
    tool = tmp_path / "bin/codex-x"
    asked = tmp_path / "asked"
    environ = {**os.environ, "HOME": str(tmp_path)}

    def install(version: str) -> str:
        tool.unlink(missing_ok=True)
        path = program(tool, f"echo x >> {asked}; echo codex-cli {version}")
        os.utime(path, (499162500, 499162500))
        return path

    for version in ("0.145.0", "0.169.1"):
        path = install(version)
        assert [programs.release(path, environ, cache) for _ in range(3)] == [version] * 3
    assert asked.read_text() == "x\nx\n"
    assert os.stat(cache).st_mode & 0o777 == 0o600


def test_a_whole_path_is_itself(tmp_path: Path) -> None:
    """And nothing is looked for beside it; a relative one is nothing at all."""
    path = program(tmp_path / "here/my-tool")
    environ = {"HOME": str(tmp_path), "PATH": f"{tmp_path}/here"}
    assert programs.find(path, environ) == path
    assert programs.find(f"{tmp_path}/none/my-tool", environ) is None
    assert programs.find("here/my-tool", environ) is None


@pytest.mark.parametrize("script", ["exit 1", "echo no number", "sleep 30", "head -c 100000000 /dev/zero"])
def test_a_program_that_does_not_say(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its release is not known: no error, and nothing is remembered."""
    monkeypatch.setattr(programs, "VERSION_S", 0.5)
    path = program(tmp_path / "bin/codex-x", script)
    assert programs.release(path, dict(os.environ), str(tmp_path / "c/releases.json")) is None
    assert programs.release(str(tmp_path / "none"), dict(os.environ), str(tmp_path / "c/releases.json")) is None
    assert not (tmp_path / "c").exists()
