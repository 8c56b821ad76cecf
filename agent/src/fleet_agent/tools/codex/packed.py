"""A rollout that Codex compressed: `rollout-....jsonl.zst`. It does so with old ones, and when it is asked to.

Python reads Zstandard from 3.14 on; before, such a session is listed by its name and file times alone.
"""

import importlib
import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import IO, Any

from fleet_agent.files import open_regular
from fleet_agent.tail import Budget, LineSplitter, Source
from fleet_agent.tools.codex.lines import decode_meta
from fleet_agent.tools.codex.rollout import Rollout
from fleet_agent.tools.codex.thread import ThreadFile

SUFFIX = ".zst"
MAX_UNPACKED_BYTES = 64 << 20  # a longer one is not read: it would cost every reading of the host 0.3 s
MAX_WINDOW_LOG = 23  # 8 MiB: RFC 8878 recommends no less to readers, and no more to writers; Codex takes 2 MiB
_BLOCK_BYTES = 256 << 10


class PackedFile(ThreadFile):
    """The compressed rollout at `path`. Where it cannot be unpacked, `facts` stays None, without a fault."""

    _seen: tuple[int, int] | None = None

    def poll(self, _budget: Budget) -> None:
        """Read it, if it is not the one that was read before."""
        try:
            with open(open_regular(self.path), "rb") as packed:
                status = os.fstat(packed.fileno())
                if self._seen != (status.st_ino, status.st_mtime_ns):
                    self._seen, self.fault, self.gone = (status.st_ino, status.st_mtime_ns), None, False
                    self.modified_at, self.size_bytes = status.st_mtime, status.st_size
                    self.readings += 1
                    self._unpack(packed)
                    self.usage = self._usage()
        except OSError as exc:
            self._seen = None
            self.fault, self.gone = exc.strerror or str(exc), isinstance(exc, FileNotFoundError)

    def _unpack(self, packed: IO[bytes]) -> None:
        zstd = zstd_module()
        if zstd is None or (self.size_bytes or 0) > MAX_UNPACKED_BYTES:
            return
        bounds = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        try:
            self.facts = _read(_unpacked(packed, zstd.ZstdDecompressor(options=bounds)))
        except (zstd.ZstdError, EOFError) as exc:
            self.fault = f"it is no whole Zstandard file: {exc}"
        Source.read_bytes += packed.tell()


def zstd_module() -> ModuleType | None:
    """Python's own reader of Zstandard, if this Python has one."""
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return None


def _unpacked(packed: IO[bytes], decompressor: Any) -> Iterator[bytes]:
    """What is in the one frame that Codex writes. Raises `EOFError` where it ends too early."""
    while not decompressor.eof:
        data = packed.read(_BLOCK_BYTES) if decompressor.needs_input else b""
        if decompressor.needs_input and not data:
            raise EOFError("its end is missing")
        yield decompressor.decompress(data, _BLOCK_BYTES)


def _read(blocks: Iterable[bytes]) -> Rollout | None:
    """The facts of an unpacked rollout; None if it is none, or too long."""
    facts, splitter, budget = None, LineSplitter(), Budget(MAX_UNPACKED_BYTES)
    for block in blocks:
        budget.take(block)
        if budget.is_spent:
            return None
        for line in splitter.feed(block):
            if facts is None:
                meta = decode_meta(line)
                if meta is None:
                    return None
                facts = Rollout(meta)
            else:
                facts.feed(line)
    return facts
