"""The floor of bench/daemon.py: tuned asyncssh holds one stream a host, and drops what it reads.

Usage: bare_streams.py ADDRESSES PORT USER KEY KNOWN_HOSTS COMMAND WINDOW_S

Prints one JSON object: the CPU seconds of the window, which begins once every stream has spoken, and the bytes.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import asyncssh
import uvloop

from bare_asyncssh import AT_ONCE, Session, common, connect


async def main(
    addresses: str, port: str, user: str, key: str, known_hosts: str, command: str, window_s: str
) -> None:
    hosts, options, gate = (
        Path(addresses).read_text().split(),
        common(user, key, known_hosts),
        asyncio.Semaphore(AT_ONCE),
    )
    sessions = [Session() for _ in hosts]

    async def hold(host: str, session: Session) -> asyncssh.SSHClientConnection:
        connection = await connect(host, int(port), options, gate)
        await connection.create_session(lambda: session, command, encoding=None)
        connection.sock = None
        return connection

    connections = await asyncio.gather(*map(hold, hosts, sessions))
    while not all(session.size for session in sessions):  # noqa: ASYNC110 - a benchmark
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    before_s, read = time.process_time(), sum(session.size for session in sessions)
    await asyncio.sleep(float(window_s))
    cpu_s = time.process_time() - before_s
    print(
        json.dumps(
            {
                "cpu_s": cpu_s,
                "bytes": sum(session.size for session in sessions) - read,
            }
        )
    )
    for connection in connections:
        connection.abort()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
