"""The hook: one event of Codex on stdin -> one small file. Codex runs it, and waits for it:

    python -ISB record.py DIRECTORY

So it imports little, prints nothing, and ends with 0 whatever happens: an event that is not recorded is worth
less than an undisturbed session. Nothing of a conversation is kept: no prompt, no command, no answer.
"""

import json
import os
import sys
import time

MAX_FILES = 500  # one a thread; the newest stay
MAX_NAME_CHARS = 100
_ID_CHARS = frozenset("0123456789abcdef-")


def main() -> None:
    """Record the event on stdin in the directory that the command line names."""
    at = time.time()
    try:
        os.umask(0o077)
        record(sys.argv[1], json.loads(sys.stdin.buffer.read()), at)
    except Exception:
        return


def record(directory: str, event: dict[str, object], at: float) -> None:
    """Write the event of a thread over the one before: a reader sees the old file or the new one, whole.

    A subagent's `session_id` is its root's; its own id is `agent_id`. `at` is epoch seconds.
    """
    thread = _name(event, "agent_id") or _name(event, "session_id")
    if not thread or not _ID_CHARS.issuperset(thread):
        return
    names = {"event": "hook_event_name", "tool": "tool_name", "turn_id": "turn_id"}
    kept = {"at": at, **{name: _name(event, key) for name, key in names.items()}}
    path = os.path.join(directory, f"{thread}.json")
    os.makedirs(directory, exist_ok=True)
    is_new = not os.path.exists(path)
    _write(path, json.dumps(kept).encode())
    if is_new:
        prune(directory)


def prune(directory: str, keep: int = MAX_FILES) -> None:
    """Remove what was recorded, but for the newest `keep` files. Other files are not touched."""
    with os.scandir(directory) as entries:
        files = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if _is_recorded(entry.name)]
    for _, path in sorted(files, reverse=True)[keep:]:
        os.unlink(path)


def _is_recorded(name: str) -> bool:
    """Whether a file is one of ours: `<thread id>.json`, or `<thread id>.json.<pid>`, never finished."""
    thread, json_, pid = name.partition(".json")
    return bool(thread and json_) and _ID_CHARS.issuperset(thread) and (not pid or pid[1:].isdigit())


def _name(event: dict[str, object], key: str) -> str | None:
    value = event.get(key)
    return value[:MAX_NAME_CHARS] if isinstance(value, str) else None


def _write(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
