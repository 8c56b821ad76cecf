"""`fleet status` by the daemon: what it knows, or, with --fresh, what it has every agent say anew.

JSON is passed on as it comes: it is not decoded, and nothing is imported that would decode it.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from fleet import client, paths
from fleet.cli.options import Format
from fleet.cli.terminal import terminal, write

if TYPE_CHECKING:
    from fleet.views.entries import Document

_REFRESH_S = 10.0  # the daemon's own default


class Query(NamedTuple):
    """What is asked of the daemon. `config`: only if it runs with this file; None leaves it to the daemon."""

    hosts: Sequence[str]
    excludes: Sequence[str]
    config: Path | None
    timeout_s: float | None
    fresh: bool

    def path(self, *, pretty: bool) -> str:
        """The request path."""
        pairs = [("host", host) for host in self.hosts] + [("exclude", host) for host in self.excludes]
        if self.config is not None:
            pairs.append(("config", os.path.abspath(self.config)))  # noqa: PTH100 - resolve() follows links
        if self.fresh:
            pairs += [("fresh", "1"), ("timeout_s", f"{self.timeout_s or _REFRESH_S:g}")]
        return f"/v1/fleet?{urlencode([*pairs, ('pretty', str(int(pretty)))])}"


def show(
    query: Query, chosen: Format, *, why: bool, every_s: float | None, verbose: bool
) -> tuple[int, int] | None:
    """Print what the daemon answers, again and again with `every_s`. How many hosts failed, of how many.

    None when no daemon answers, or one that runs with another configuration: then nothing was printed.
    """
    answer = _ask(query, pretty=chosen is Format.JSON and not every_s, verbose=verbose)
    if answer is None:
        return None
    while _print(answer, chosen, why=why, every_s=every_s) and every_s:
        time.sleep(every_s)
        answer = _ask(query, pretty=False, verbose=verbose)
        if answer is None:
            from fleet.errors import DaemonError

            raise DaemonError("the daemon has ended; run the same again to connect to the hosts without it")
    failed, _, hosts = answer.headers["fleet-failed"].partition("/")
    return (0, int(hosts)) if every_s else (int(failed), int(hosts))


def document(query: Query) -> "Document | None":
    """What the daemon knows, decoded. None when no daemon answers, or one with another configuration."""
    answer = _ask(query, pretty=False, verbose=False)
    return _decoded(answer) if answer else None


def _decoded(answer: client.Answer) -> "Document":
    import msgspec

    from fleet.views.entries import Document

    return msgspec.json.decode(answer.body, type=Document)


def _ask(query: Query, *, pretty: bool, verbose: bool) -> client.Answer | None:
    try:
        timeout_s = client.ANSWER_TIMEOUT_S + (query.timeout_s or 0)
        answer = client.ask(query.path(pretty=pretty), timeout_s=timeout_s)
    except client.NoDaemon as exc:
        _say(verbose, f"{exc}; connecting to every host")
        return None
    if answer.status == 409:
        _say(verbose, "the daemon runs with another configuration; connecting to every host")
        return None
    if answer.status != 200:
        from fleet.cli.daemon_client import check

        check(answer)
    _say(verbose, f"answered by the daemon at {paths.socket_path(os.environ)}")
    return answer


def _say(verbose: bool, text: str) -> None:
    if verbose:
        print(f"fleet: {text}", file=sys.stderr)


def _print(answer: client.Answer, chosen: Format, *, why: bool, every_s: float | None) -> bool:
    if chosen is Format.JSON:
        return write(answer.body)
    from fleet.cli.render import View, again, once

    view = View(chosen, why, configured=paths.config_file(os.environ) is not None)
    return write((again if every_s else once)(_decoded(answer), view, terminal()))
