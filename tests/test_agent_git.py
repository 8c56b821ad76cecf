"""fleet_agent.git: the branch of a directory."""

import os
import subprocess
from pathlib import Path

import pytest

from fleet_agent.git import TTL_S, Branches, parse_head


def git(directory: Path, *arguments: str) -> str:
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    environ = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    return root


def test_the_branch_of_a_work_tree_and_of_any_directory_in_it(repository: Path) -> None:
    """The repository may be any parent of the directory."""
    deep = repository / "a" / "b"
    deep.mkdir(parents=True)
    branches = Branches()
    assert branches.of(str(repository)) == "main"
    assert branches.of(str(deep)) == "main"
    assert branches.of(str(deep) + "/") == "main"


def test_a_branch_that_changes_is_seen_at_once(repository: Path) -> None:
    """What is cached is checked against the HEAD file at each look."""
    branches = Branches()
    assert branches.of(str(repository)) == "main"
    git(repository, "switch", "-q", "-c", "feature/x")
    assert branches.of(str(repository)) == "feature/x"


def test_a_detached_head_is_its_short_commit(repository: Path) -> None:
    """No branch: the first digits of the commit."""
    git(repository, "checkout", "-q", "--detach")
    assert branch_of(repository) == git(repository, "rev-parse", "HEAD")[:8]


def test_a_worktree_has_its_own_branch(repository: Path) -> None:
    """The .git file of a worktree is followed."""
    git(repository, "worktree", "add", "-q", "-b", "side", "../side")
    assert branch_of(repository.parent / "side") == "side"
    assert branch_of(repository) == "main"


def test_a_submodule_with_a_relative_git_file(repository: Path, tmp_path: Path) -> None:
    """`gitdir:` may be relative to the directory of the .git file."""
    git(repository, "worktree", "add", "-q", "-b", "side", "../side")
    target = (tmp_path / "side" / ".git").read_text().removeprefix("gitdir: ").strip()
    (tmp_path / "side" / ".git").write_text(f"gitdir: {os.path.relpath(target, tmp_path / 'side')}\n")
    assert branch_of(tmp_path / "side") == "side"


def test_no_repository_is_no_branch(tmp_path: Path) -> None:
    """Outside a repository, in a directory that is gone, or for a relative path, the branch is not known."""
    assert branch_of(tmp_path) is None
    assert branch_of(tmp_path / "gone") is None
    assert Branches().of("relative") is None
    assert Branches().of("") is None


def test_a_repository_that_appears_or_goes_is_seen_in_time(tmp_path: Path) -> None:
    """The search of the parents is repeated after a while; a HEAD that is gone is noticed at once."""
    now_s = 0.0
    branches = Branches(lambda: now_s)
    assert branches.of(str(tmp_path)) is None
    git(tmp_path, "init", "-q", "-b", "main")
    now_s = TTL_S
    assert branches.of(str(tmp_path)) == "main"
    (tmp_path / ".git" / "HEAD").unlink()
    assert branches.of(str(tmp_path)) is None


def test_a_trap_in_place_of_git_files_does_not_hang(tmp_path: Path) -> None:
    """Directories belong to others: a FIFO as .git or HEAD is no repository."""
    os.mkfifo(tmp_path / ".git")
    assert branch_of(tmp_path) is None
    (tmp_path / "x" / ".git").mkdir(parents=True)
    os.mkfifo(tmp_path / "x" / ".git" / "HEAD")
    assert branch_of(tmp_path / "x") is None


@pytest.mark.parametrize(
    ("raw", "branch"),
    [
        (b"ref: refs/heads/main\n", "main"),
        (b"ref: refs/heads/caf\xc3\xa9", "café"),
        (b"ref: refs/heads/\xff", "�"),
        (b"ref: refs/heads/.invalid\n", None),  # reftable
        (b"e3a6428df23dd5972da31de7d68c52b34acbd7a3\n", "e3a6428d"),
        (b"root:x:0:0:root:/root:/bin/bash\n", None),
        (b"", None),
    ],
)
def test_what_a_head_file_says(raw: bytes, branch: str | None) -> None:
    """Only what is surely a branch or a commit is shown; nothing else of the file leaves the host."""
    assert parse_head(raw) == branch


def branch_of(directory: Path) -> str | None:
    return Branches().of(str(directory))
