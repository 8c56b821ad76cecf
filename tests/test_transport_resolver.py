"""fleet.transport.resolver: names to addresses, in threads that nobody waits for."""

import asyncio
import socket
import subprocess
import sys
import threading
import time

import pytest

from fleet.transport import resolver
from fleet.transport.resolver import Resolver


def test_a_name_has_addresses() -> None:
    """As the system's resolver gives them."""
    infos = asyncio.run(Resolver().addresses("localhost", 22))
    assert {info[4][1] for info in infos} == {22}


def test_what_the_system_says_is_raised() -> None:
    """A name that does not resolve is the caller's to word."""
    with pytest.raises(socket.gaierror):
        asyncio.run(Resolver().addresses("no-such-host.invalid", 22))


def test_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead DNS server holds so many threads and no more; who gives up leaves its thread behind, counted."""
    done = threading.Event()
    started: list[str] = []

    def slow(host: str, _port: int) -> list[object]:
        started.append(host)
        done.wait(10)
        return []

    monkeypatch.setattr(resolver, "resolve", slow)
    monkeypatch.setattr(resolver, "AT_ONCE", 2)

    async def main() -> None:
        names = Resolver()
        asked = [asyncio.create_task(names.addresses(f"h{n}", 22)) for n in range(5)]
        await asyncio.sleep(0.1)
        asked[0].cancel()
        await asyncio.sleep(0.1)
        assert sorted(started) == ["h0", "h1"]
        done.set()
        await asyncio.gather(*asked[1:])
        assert sorted(started) == ["h0", "h1", "h2", "h3", "h4"]

    asyncio.run(main())


def test_the_interpreter_does_not_wait_for_it() -> None:
    """The process ends while getaddrinfo goes on (PROMISES 24)."""
    program = (
        "import asyncio, time\n"
        "from fleet.transport import resolver\n"
        "resolver.resolve = lambda *_: time.sleep(60)\n"
        "async def main():\n"
        "    await asyncio.wait_for(resolver.Resolver().addresses('x', 22), 0.1)\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except TimeoutError:\n"
        "    print('gave up')\n"
    )
    started_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "gave up\n", "")
    assert time.monotonic() - started_s < 20
