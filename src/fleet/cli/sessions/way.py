"""How a verb reaches its hosts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fleet.config import Config
    from fleet.control.kept import Kept


class Way(NamedTuple):
    """By which configuration, and over the daemon's connections or not."""

    config: Path | None
    no_daemon: bool = False
    verbose: bool = False

    def reach(self, loaded: "Config") -> "Kept":
        """Over the daemon's, if one runs and nobody minds; else by logins of our own."""
        if self.no_daemon:
            from fleet.control.direct import Direct

            return Direct()
        from fleet.control.by_daemon import ByDaemon

        return ByDaemon(loaded, self._say)

    def _say(self, text: str) -> None:
        if self.verbose:
            note(text)


def note(text: str) -> None:
    """On standard error, which is not for data."""
    print(f"fleet: {text}", file=sys.stderr, flush=True)
