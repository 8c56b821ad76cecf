"""TCP connections to SSH servers, made and held as a login wants them."""

import asyncio
import os
import socket

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

_HAPPY_EYEBALLS_S = 0.25  # RFC 8305, Connection Attempt Delay


async def connected(infos: list[AddrInfoType]) -> socket.socket:
    """A connection to the first of these addresses that answers. Raises `OSError`."""
    if len(infos) == 1:
        return await _connect(infos[0])
    return await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=_HAPPY_EYEBALLS_S, interleave=1)


async def speaks(sock: socket.socket, within_s: float) -> bool:
    """Whether the server says something so soon. Raises `OSError` when the connection is lost already."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def heard() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(sock, heard)
    try:
        async with asyncio.timeout(within_s):
            await readable
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(sock)
    if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))  # uvloop would not give back a socket that is reset already
    return True


def acknowledge_now(sock: socket.socket) -> None:
    """Send the ACK that Linux would hold back, by up to 40 ms, for something to go with it."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # the kernel clears it again
    except (AttributeError, OSError):  # not Linux; or closed
        return


async def _connect(info: AddrInfoType) -> socket.socket:
    """A connection to one address. Raises `OSError`."""
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
