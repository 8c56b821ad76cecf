"""The Pythons that this machine has beside the one that runs the tests."""

import shutil
import subprocess
from pathlib import Path


def python_of(version: tuple[int, int]) -> str | None:
    """A Python of that version. A shim of pyenv may be there for one that does not run."""
    name = f"python{version[0]}.{version[1]}"
    known = [shutil.which(name), *map(str, Path("~/.pyenv/versions").expanduser().glob(f"*/bin/{name}"))]
    for path in filter(None, known):
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    return None
