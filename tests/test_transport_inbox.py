"""fleet.transport.inbox, over real sockets."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from fleet.transport.inbox import READ_BYTES, Inbox


class Reader:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.ends: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.append(exc)


class Scene:
    """An inbox over some connections: the near ends are read, the far ones written."""

    def __init__(self, count: int) -> None:
        self.arrivals = 0
        self.inbox = Inbox(self._arrived)
        pairs = [socket.socketpair() for _ in range(count)]
        self.near, self.far = [near for near, _ in pairs], [far for _, far in pairs]
        self.readers = [Reader() for _ in pairs]
        for sock, reader in zip(self.near, self.readers, strict=True):
            sock.setblocking(False)
            self.inbox.join(sock, reader)

    def close(self) -> None:
        self.inbox.close()
        for sock in self.near + self.far:
            sock.close()

    async def arrived(self, times: int) -> None:
        async with asyncio.timeout(5):
            while self.arrivals < times:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert self.arrivals == times

    def _arrived(self) -> None:
        self.arrivals += 1


def run(main: Callable[[Scene], Awaitable[None]], count: int = 3) -> None:
    async def bounded() -> None:
        scene = Scene(count)
        try:
            await main(scene)
        finally:
            scene.close()

    asyncio.run(bounded())


def test_what_arrives_is_said_once_and_read_together() -> None:
    """One waking of the loop, however many connections have something, and none for those that have not."""

    async def main(scene: Scene) -> None:
        scene.far[0].send(b"a")
        await scene.arrived(1)
        scene.far[0].send(b"b")
        scene.far[1].send(b"c")
        await scene.arrived(1)
        assert [reader.data for reader in scene.readers] == [[], [], []]
        scene.inbox.read()
        assert [reader.data for reader in scene.readers] == [[b"ab"], [b"c"], []]
        scene.far[2].send(b"d")
        await scene.arrived(1)
        scene.inbox.watch()
        await scene.arrived(2)
        assert scene.inbox.read() == 1
        assert scene.inbox.read() == 0

    run(main)


def test_a_flood_is_read_in_pieces() -> None:
    """No connection gets more than its share of a reading, and nothing of it is lost or out of order."""

    async def main(scene: Scene) -> None:
        flood = bytes(range(256)) * (READ_BYTES // 128)
        scene.far[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(flood))
        sending = asyncio.create_task(asyncio.to_thread(scene.far[0].sendall, flood))
        async with asyncio.timeout(5):
            while b"".join(scene.readers[0].data) != flood:
                scene.inbox.read()
                await asyncio.sleep(0.001)
        await sending
        assert max(map(len, scene.readers[0].data)) <= READ_BYTES

    run(main)


def test_who_is_in_a_hurry_does_not_wait_for_a_reading() -> None:
    """What was there is read before, what comes then by itself; afterwards all is as it was."""

    async def main(scene: Scene) -> None:
        scene.far[0].send(b"before")
        await scene.arrived(1)
        with scene.inbox.hurried():
            assert scene.readers[0].data == [b"before"]
            scene.far[1].send(b"answer")
            async with asyncio.timeout(5):
                while not scene.readers[1].data:
                    await asyncio.sleep(0.001)
        scene.far[2].send(b"after")
        await scene.arrived(2)
        assert not scene.readers[2].data

    run(main)


def test_the_end_of_a_connection_is_told() -> None:
    """Once closed by the other side, or reset, its reader is told; what came before is read first."""

    async def main(scene: Scene) -> None:
        scene.far[0].send(b"last words")
        scene.far[0].close()
        await scene.arrived(1)
        scene.inbox.read()
        scene.inbox.read()
        assert scene.readers[0].data == [b"last words"]
        assert scene.readers[0].ends == [None]
        scene.near[1].send(b"x")
        scene.far[1].close()  # with unread bytes in it: a reset
        scene.inbox.read()
        assert isinstance(scene.readers[1].ends[0], ConnectionResetError)

    run(main)


def test_after_its_end_all_may_leave_and_nothing_is_read() -> None:
    """Connections say that they are lost when the loop comes to it: that may be after the end of everything."""

    async def main(scene: Scene) -> None:
        scene.far[0].send(b"a")
        await scene.arrived(1)
        scene.inbox.close()
        scene.inbox.read()
        scene.inbox.watch()
        for sock in scene.near:
            scene.inbox.leave(sock)
        assert not scene.readers[0].data

    run(main)


def test_who_has_left_is_not_read() -> None:
    """Also when its socket was closed meanwhile, as a transport does before it says so."""

    async def main(scene: Scene) -> None:
        scene.inbox.leave(scene.near[0])
        scene.near[1].close()
        scene.inbox.leave(scene.near[1])
        scene.far[0].send(b"a")
        scene.far[2].send(b"b")
        await scene.arrived(1)
        scene.inbox.read()
        assert [reader.data for reader in scene.readers] == [[], [], [b"b"]]

    run(main)
