"""What `fleet daemon` starts."""

import gc
import ipaddress
import logging
import os
from pathlib import Path

from fleet import collector
from fleet.daemon.run import Listen, serve
from fleet.errors import UsageError

_GC_THRESHOLD = (700, 10, 10)  # Python's own; `fleet.__main__` has raised it for the start


def serve_forever(config: Path | None, listen: str | None, *, quiet: bool) -> None:
    """Run the daemon until a signal ends it."""
    stamped = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "  # the journal has its own clock
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format=f"{stamped}%(levelname)s %(message)s"
    )
    gc.freeze()  # the modules stay, and need not be looked through
    gc.set_threshold(*_GC_THRESHOLD)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    collector.run(serve(config, parse_listen(listen) if listen else None))


def parse_listen(value: str) -> Listen:
    """`ADDRESS:PORT`, IPv6 in brackets. Raises `UsageError`."""
    host, _, port = value.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise UsageError(f"--listen {value}: write an IP address and a port, like 127.0.0.1:7433") from None
    if not port.isdigit() or not 0 < int(port) <= 65535:
        raise UsageError(f"--listen {value}: {port or 'nothing'} is no port; it is a number from 1 to 65535")
    return Listen(str(address), int(port))
