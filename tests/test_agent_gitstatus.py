"""fleet_agent.gitstatus: `git status` of repositories that nobody vouches for."""

import os
import time
from pathlib import Path

import psutil
import pytest

from fleet_agent import gitstatus
from fleet_agent.git import find_work_tree
from fleet_agent.gitstatus import Status, StatusRun, is_safe, parse_status
from repository import git, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def started(directory: Path) -> StatusRun:
    tree = find_work_tree(str(directory))
    assert tree
    return StatusRun(tree)


def status(directory: Path) -> Status | None:
    run = started(directory)
    assert run.wait(30)
    return run.status


def safe(directory: Path) -> bool:
    tree = find_work_tree(str(directory))
    assert tree
    return is_safe(tree)


def test_the_counts_of_a_real_repository(repository: Path) -> None:
    """Changed, staged and untracked files; the commit as git abbreviates it; and the upstream's distance."""
    assert status(repository) == Status(0, git(repository, "rev-parse", "HEAD")[:8])
    git(repository, "switch", "-q", "-c", "side", "--track")
    for name in ("a", "b b", "c\nc"):
        (repository / name).write_text("1")
    git(repository, "add", "a")
    git(repository, "commit", "-q", "-m", "second")
    (repository / "a").write_text("22")
    git(repository, "add", "b b")
    commit = git(repository, "rev-parse", "HEAD")[:8]
    assert status(repository) == Status(3, commit, ahead=1, behind=0)


def test_what_git_says() -> None:
    """Porcelain v2 with NULs: names may hold anything else."""
    raw = (
        b"# branch.oid 0123456789abcdef0123456789abcdef01234567\0# branch.head main\0# branch.upstream o/main\0"
        b"# branch.ab +2 -3\0"
        + b"1 .M N... 100644 100644 100644 1 1 a\n# branch.ab +9 -9\0? b\0u UU x\0! ignored\0"
    )
    assert parse_status(raw) == Status(3, "01234567", 2, 3)
    assert parse_status(b"# branch.oid (initial)\0# branch.head main\0") == Status(0)
    assert parse_status(b"") == Status(0)


def test_reading_changes_nothing(repository: Path) -> None:
    """The index is not refreshed: a lock on it could make a command of the session fail."""
    (repository / "a").write_text("1")
    git(repository, "add", "a")
    git(repository, "commit", "-q", "-m", "a")
    os.utime(repository / "a", (1, 1))  # git would write down that it is unchanged
    before = sorted((p, p.stat().st_mtime_ns) for p in (repository / ".git").rglob("*"))
    assert status(repository) == Status(0, git(repository, "rev-parse", "HEAD")[:8])
    assert sorted((p, p.stat().st_mtime_ns) for p in (repository / ".git").rglob("*")) == before


def plant(repository: Path, tmp_path: Path) -> Path:
    """A program that leaves a trace when it is run."""
    program, trace = tmp_path / "planted", tmp_path / "trace"
    program.write_text(f"#!/bin/sh\ntouch {trace}\ncat\n")
    program.chmod(0o755)
    return program


def test_a_repositorys_fsmonitor_and_hooks_are_not_run(repository: Path, tmp_path: Path) -> None:
    """`git status` in such a repository would run them; ours does not, and still answers."""
    program, trace = plant(repository, tmp_path), tmp_path / "trace"
    git(repository, "config", "core.fsmonitor", str(program))
    for hook in ("fsmonitor-watchman", "post-index-change", "reference-transaction"):
        (repository / ".git/hooks" / hook).unlink(missing_ok=True)
        (repository / ".git/hooks" / hook).symlink_to(program)
    git(repository, "status")
    assert trace.exists()  # the plant works
    trace.unlink()
    assert status(repository) is not None
    assert not trace.exists()


def test_a_repository_with_a_filter_is_not_asked(repository: Path, tmp_path: Path) -> None:
    """Filters are run on files whose time has changed, under a name that only the repository knows."""
    program, trace = plant(repository, tmp_path), tmp_path / "trace"
    (repository / "a").write_text("1")
    (repository / ".gitattributes").write_text("a filter=evil\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "a")
    assert safe(repository)
    git(repository, "config", "filter.evil.clean", str(program))
    (repository / "a").write_text("2")
    git(repository, "status")
    assert trace.exists()  # the plant works
    trace.unlink()
    assert not safe(repository)
    if os.geteuid():
        assert status(repository) is not None  # even if it is asked, it cannot start the filter
        assert not trace.exists()


@pytest.mark.parametrize(
    "config",
    [
        '[filter "x"]\n\tclean = x\n',
        '[core] bare = false\n[ Filter "x"] clean=x\n',
        "[include]\n\tpath = ../other\n",
        '[includeIf "gitdir:/"]\n\tpath = other\n',
        "[core]\n\tworkTree = /\n",
        '[core]\n\tworktree = ..\n\tworktree = "/"\n',
        "[core] worktree = ..;/../../etc\n",
        "#" * gitstatus.MAX_CONFIG_BYTES,
    ],
)
def test_a_configuration_that_leads_elsewhere_is_not_safe(repository: Path, config: str) -> None:
    """What it includes, or is too long to look through, may name programs too."""
    with (repository / ".git/config").open("a") as file:
        file.write(config)
    assert not safe(repository)


def test_the_configuration_of_a_worktree_is_that_of_its_repository(repository: Path) -> None:
    """A worktree's own directory has no `config`; and it may have one of its own beside."""
    git(repository, "worktree", "add", "-q", "-b", "side", "../side")
    side = repository.parent / "side"
    assert safe(side)
    assert status(side) == Status(0, git(side, "rev-parse", "HEAD")[:8])
    git(repository, "config", "extensions.worktreeConfig", "true")
    git(side, "config", "--worktree", "filter.x.clean", "x")
    assert (safe(repository), safe(side)) == (True, False)
    (repository / ".git/config").unlink()
    assert not safe(repository)


def test_a_submodule_is_asked_about_too(repository: Path, tmp_path: Path) -> None:
    """Its configuration names its own work tree, and no other."""
    make_repository(tmp_path / "library")
    allowed = ("-c", "protocol.file.allow=always")
    git(repository, *allowed, "submodule", "--quiet", "add", str(tmp_path / "library"), "sub")
    (repository / "sub/new").touch()
    assert "worktree" in (repository / ".git/modules/sub/config").read_text()
    assert safe(repository / "sub")
    commit = git(tmp_path / "library", "rev-parse", "HEAD")[:8]
    assert status(repository / "sub") == Status(1, commit, ahead=0, behind=0)
    (repository / "sub").rename(repository / "moved")
    assert not safe(repository / "moved")


def test_a_broken_repository_is_not_that_of_a_directory_above(repository: Path) -> None:
    """Git would go on looking further up."""
    inner = repository / "inner"
    (inner / ".git").mkdir(parents=True)
    (inner / ".git/HEAD").write_text("ref: refs/heads/x\n")
    assert status(inner) is None


def test_a_git_that_hangs_is_ended(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time it is killed; until then nobody waits for it longer than asked."""
    slow_git(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr(gitstatus, "TIMEOUT_S", 0.3)
    run = started(repository)
    begun_s = time.monotonic()
    assert not run.wait(0.05)
    assert time.monotonic() - begun_s < 0.25
    assert run.wait(10)
    assert run.status is None
    assert not psutil.pid_exists(run._pid)


def test_a_git_that_talks_too_much_is_ended(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A work tree with a million untracked files is not held in memory."""
    slow_git(tmp_path, "exec cat /dev/zero", monkeypatch)
    run = started(repository)
    assert run.wait(10)
    assert run.status is None
    assert len(run._output) <= gitstatus.MAX_OUTPUT_BYTES


def test_no_git_is_an_error(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many a container has repositories and no git."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        started(repository)


def test_git_sees_nothing_of_our_environment(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GIT_DIR, no trace files, no ssh-agent: only where programs and its user's configuration are."""
    slow_git(tmp_path, f"env > {tmp_path}/seen", monkeypatch)
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    assert started(repository).wait(30)
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen - {"PWD", "_", "SHLVL", "OLDPWD", "XDG_CONFIG_HOME"} == {
        "PATH", "HOME", "LC_ALL", "GIT_OPTIONAL_LOCKS", "GIT_TERMINAL_PROMPT", "GIT_ALLOW_PROTOCOL",
        "GIT_NO_LAZY_FETCH", "GIT_CEILING_DIRECTORIES",
    }  # fmt: skip


def slow_git(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another program in the place of git."""
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{what}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    if os.geteuid():
        monkeypatch.setattr(gitstatus, "_restrain", lambda _: None)  # a shell has to start programs
