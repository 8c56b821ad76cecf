"""How fast a file grows. Needs no I/O: it is told the size at each reading."""

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 60.0


class Growth:
    """The sizes of one file over the last `WINDOW_S`. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sizes: deque[tuple[float, int]] = deque()  # each as first seen; the first is the window's base
        self._readings = 0

    def note(self, size_bytes: int) -> None:
        """The file's size now. A file that shrank is another one, or was cut: counted anew."""
        now_s = self._clock()
        if self._sizes and size_bytes < self._sizes[-1][1]:
            self._sizes.clear()
            self._readings = 0
        self._readings += 1
        if not self._sizes or size_bytes != self._sizes[-1][1]:
            self._sizes.append((now_s, size_bytes))
        while len(self._sizes) > 1 and self._sizes[1][0] <= now_s - WINDOW_S:
            self._sizes.popleft()

    @property
    def grown_bytes(self) -> int | None:
        """What was appended in the last `WINDOW_S`, or since the first reading; None after one reading."""
        return self._sizes[-1][1] - self._sizes[0][1] if self._readings > 1 else None
