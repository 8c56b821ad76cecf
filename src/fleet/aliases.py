"""The hosts that an ssh_config names (ssh_config(5), Host and Include). `ssh -G` knows what it says of each."""

import glob
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from fleet.errors import ConfigError

_MAX_DEPTH = 16  # of Include, as in OpenSSH
_LINE = re.compile(r"\s*(?P<keyword>host|include)(?:\s+|\s*=\s*)(?P<rest>.*\S)\s*", re.IGNORECASE)
_WORD = re.compile(r'"([^"]*)"|(\S+)')


def aliases(path: Path) -> list[str]:
    """Every alias once, in their order; patterns (`*`, `?`, `!`) are no aliases. Raises `ConfigError`."""
    try:
        return list(dict.fromkeys(_aliases(path, path.parent, 0)))
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "is no text"
        raise ConfigError(f"{path}: cannot be read: {reason}; name another file with --from") from None


def _aliases(path: Path, base: Path, depth: int) -> Iterator[str]:
    """`base`: where a relative Include is looked for."""
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{path}: more than {_MAX_DEPTH} files include each other")
    for line in path.read_text("utf-8").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        before_comment = itertools.takewhile(lambda word: word[1][:1] != "#", _WORD.findall(match["rest"]))
        words = [quoted or plain for quoted, plain in before_comment]
        if match["keyword"].lower() == "host":
            yield from (word for word in words if not any(sign in word for sign in "*?!"))
            continue
        for word in words:
            for found in sorted(glob.glob(str(base / Path(word).expanduser()))):  # noqa: PTH207 - `~` and absolute
                if Path(found).is_file():
                    yield from _aliases(Path(found), base, depth + 1)
