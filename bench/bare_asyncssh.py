"""The floor of bench/fanout.py: tuned asyncssh and nothing else. It reads what each host prints and counts it.

Usage: bare_asyncssh.py ADDRESSES PORT USER KEY KNOWN_HOSTS COMMAND

The tuning is the one of fleet.transport.connection (keys and known_hosts parsed once, AES-GCM first, no thread
hop, TCP_QUICKACK); there is no configuration, no deadline, no framing, no decoding and no state.
"""

import asyncio
import copy
import socket
import sys
from pathlib import Path
from typing import Any

import asyncssh
import uvloop

AT_ONCE = 128


class Connection(asyncssh.SSHClientConnection):
    sock: socket.socket | None = None

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        super().data_received(data, datatype)
        if self.sock is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Session(asyncssh.SSHClientSession[bytes]):
    def __init__(self) -> None:
        self.size = 0
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.size += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


def common(user: str, key: str, known_hosts: str) -> Any:
    """Options to be copied for each connection."""
    return asyncssh.SSHClientConnectionOptions(
        config=None, username=user, client_keys=[asyncssh.read_private_key(key)], agent_path=None,
        known_hosts=asyncssh.read_known_hosts(known_hosts), gss_host=None, preferred_auth=["publickey"],
        compression_algs=None, encryption_algs=["aes128-gcm@openssh.com"], x509_trusted_certs=None,
    )  # fmt: skip


async def connect(address: str, port: int, common: Any, gate: asyncio.Semaphore) -> Connection:
    loop = asyncio.get_running_loop()
    async with gate:
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, (address, port))
        options = copy.copy(common)
        options.host, options.port, options.waiter = address, port, loop.create_future()
        connection = Connection(loop, options, wait="auth")
        connection.sock = sock
        await loop.create_connection(lambda: connection, sock=sock)
        await options.waiter
    return connection


async def read(address: str, port: int, common: Any, command: str, gate: asyncio.Semaphore) -> int:
    connection = await connect(address, port, common, gate)
    session = Session()
    await connection.create_session(lambda: session, command, encoding=None)
    connection.sock = None
    await session.closed
    connection.close()
    return session.size


async def main(addresses: str, port: str, user: str, key: str, known_hosts: str, command: str) -> None:
    options, gate = common(user, key, known_hosts), asyncio.Semaphore(AT_ONCE)
    hosts = Path(addresses).read_text().split()
    sizes = await asyncio.gather(*(read(h, int(port), options, command, gate) for h in hosts))
    print(sum(size > 0 for size in sizes))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
