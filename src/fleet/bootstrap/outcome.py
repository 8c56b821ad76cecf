"""How unpacking went: the last line of unpack.py's output -> why it failed, if it did. Pure."""

from fleet.bootstrap import not_installed
from fleet.errors import HostFailure
from fleet.text import clean_bytes, clean_tail

_MARK = b"fleet-unpacked\t"
_MAX_PATH_CHARS = 200
_MAX_TEXT_CHARS = 300

_ELSEWHERE = "or install fleet-agent elsewhere there and set `agent_command`"
# The word of unpack.py, or the name of an errno -> what fixes it.
_HINTS = {
    "EROFS": f"make that file system writable, {_ELSEWHERE}",
    "EACCES": f"let its user write there, {_ELSEWHERE}",
    "EPERM": f"let its user write there, {_ELSEWHERE}",
    "ENOSPC": f"make room there: fleet needs about 10 MB, {_ELSEWHERE}",
    "EDQUOT": f"its user's quota is used up: fleet needs about 10 MB, {_ELSEWHERE}",
    "noexec": f"that file system is mounted noexec: mount it without, {_ELSEWHERE}",
    "shared": "take the right to write there from all but its user (`chmod go-w`)",
    "cut": "the network may be down; fleet tries again",
    "hash": "the network may be down; fleet tries again",
}
_ANY_HINT = "see whether that Python is whole (Debian: apt-get install python3), or install fleet-agent there"


def failure(status: int | None, out: bytes, err: bytes) -> HostFailure | None:
    """Why nothing was installed; None when the agent is there."""
    found = [line for line in out.split(b"\n") if line.startswith(_MARK)]
    if not found:
        said = clean_tail(err or out, _MAX_TEXT_CHARS)
        how = "did not end by itself" if status is None else f"ended with exit status {status}"
        return not_installed(f"fleet-agent could not be unpacked there: Python {how}: {said}", _ANY_HINT)
    word, path, text = [*found[-1].removeprefix(_MARK).split(b"\t"), b"", b""][:3]
    if word == b"ok":
        return None
    where, why = clean_bytes(path, _MAX_PATH_CHARS), clean_bytes(text, _MAX_TEXT_CHARS)
    hint = _HINTS.get(word.decode("ascii", "replace"), _ANY_HINT)
    return not_installed(f"fleet-agent could not be put into {where}: {why}", hint)
