"""Git repositories for tests, made by the real git without the configuration of whoever runs them."""

import os
import subprocess
from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def git(directory: Path, *arguments: str) -> str:
    """What git prints. Raises `CalledProcessError`."""
    environ = {**os.environ, **_IDENTITY, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make_repository(root: Path) -> Path:
    """A work tree on branch `main` with one commit and no file."""
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    return root
