"""fleet_agent.git: the work tree and the branch of a directory."""

import os
from pathlib import Path

import pytest

from fleet_agent.git import Branch, WorkTree, find_work_tree, parse_head
from repository import git, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def test_the_branch_of_a_work_tree_and_of_any_directory_in_it(repository: Path) -> None:
    """The repository may be any parent of the directory."""
    deep = repository / "a" / "b"
    deep.mkdir(parents=True)
    tree = WorkTree(str(repository), f"{repository}/.git")
    assert find_work_tree(str(repository)) == tree
    assert find_work_tree(str(deep)) == tree
    assert find_work_tree(f"{deep}/") == tree
    assert branch_of(deep) == "main"


def test_a_branch_that_changes_is_seen_at_once(repository: Path) -> None:
    """What is cached is checked against the HEAD file at each look."""
    branch = Branch(f"{repository}/.git")
    assert branch.now() == "main"
    git(repository, "switch", "-q", "-c", "feature/x")
    assert branch.now() == "feature/x"
    (repository / ".git/HEAD").unlink()
    assert branch.now() is None


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


def test_a_link_into_a_repository_is_followed(repository: Path, tmp_path: Path) -> None:
    """`codex -C LINK` names the link. What is above that is another repository, or none."""
    (repository / "deep").mkdir()
    git(tmp_path, "init", "-q", "-b", "dotfiles")
    (tmp_path / "link").symlink_to(repository / "deep")
    assert find_work_tree(f"{tmp_path}/link") == WorkTree(str(repository), f"{repository}/.git")


def test_a_bare_repository_is_not_in_the_one_above(repository: Path) -> None:
    """It has no work tree, and its branch is not the other one's. Nor is the inside of .git anybody's work."""
    git(repository, "init", "-q", "--bare", "-b", "bare", "inner.git")
    assert branch_of(repository / "inner.git") is None
    assert branch_of(repository / "inner.git/objects") is None
    assert branch_of(repository / ".git/refs") is None


def test_a_worktree_whose_repository_is_gone_is_not_in_the_one_above(repository: Path) -> None:
    """Its .git file leads nowhere; git says the same and looks no further."""
    git(repository, "worktree", "add", "-q", "-b", "side", "below")
    assert branch_of(repository / "below") == "side"
    (repository / ".git/worktrees").rename(repository / ".git/gone")
    assert branch_of(repository / "below") is None


def test_no_repository_is_no_branch(tmp_path: Path) -> None:
    """Outside a repository, in a directory that is gone, or for a relative path, the branch is not known."""
    assert branch_of(tmp_path) is None
    assert branch_of(tmp_path / "gone") is None
    assert find_work_tree("relative") is None
    assert find_work_tree("") is None


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
    tree = find_work_tree(str(directory))
    return Branch(tree.git_dir).now() if tree else None
