"""Host names -> addresses, in threads that nobody waits for.

While no DNS server answers, getaddrinfo takes up to a minute, whatever our deadline. The threads of
`concurrent.futures` and `asyncio.to_thread` are joined when the interpreter ends: `fleet status` would stay for
that minute after its last line, and the daemon after SIGTERM.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohappyeyeballs import AddrInfoType

AT_ONCE = 64  # threads; a dead DNS server holds each of them until getaddrinfo gives up


class Resolver:
    """Looks names up, so many at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def addresses(self, host: str, port: int) -> list[AddrInfoType]:
        """Those of a host. Raises what getaddrinfo raises."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[AddrInfoType]] = loop.create_future()

        def tell(result: list[AddrInfoType] | Exception) -> None:
            self._free.release()
            if answer.done():  # cancelled: the deadline has passed
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        def look_up() -> None:
            try:
                result: list[AddrInfoType] | Exception = resolve(host, port)
            except Exception as exc:
                result = exc
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, result)

        threading.Thread(target=look_up, name="fleet-dns", daemon=True).start()
        return await answer


def resolve(host: str, port: int) -> list[AddrInfoType]:
    """The addresses of a host, by the system's resolver, for as long as that takes."""
    infos: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return infos
