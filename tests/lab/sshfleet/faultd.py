"""faultd: one small process that plays the faults below SSH, told what to do through a Unix socket.

Run as `python -m lab.sshfleet _faultd ROOT`; ROOT/faultd.json says which faults to play on which addresses.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import time
from pathlib import Path

import msgspec

from lab import LabError

CHUNK_BYTES = 65536


class Plan(msgspec.Struct):
    """What to play: name, address and role of each host. Real sshds listen at `port + 1`."""

    port: int
    slow_s: float
    hosts: list[tuple[str, str, str]]


class Order(msgspec.Struct):
    """What a link shall do from now on; an order without a host only asks whether faultd is there."""

    host: str | None = None
    delay_ms: float | None = None  # one way
    cut: bool | None = None


class Link:
    """What the two pipes of a link host obey."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.open = asyncio.Event()
        self.open.set()

    def obey(self, order: Order) -> None:
        """Take an order."""
        if order.delay_ms is not None:
            self.delay_s = order.delay_ms / 1000
        if order.cut is not None:
            (self.open.clear if order.cut else self.open.set)()


def send_order(root: Path, order: Order) -> None:
    """Have the faultd of a fleet do something; OSError if there is none."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(5)
        control.connect(_control_name(root))
        control.sendall(msgspec.json.encode(order) + b"\n")
        if control.recv(16) != b"ok\n":
            raise LabError(f"faultd did not take {order}")


def _control_name(root: Path) -> str:
    """Abstract Unix socket of a fleet's faultd: no path, so no 108-byte limit and nothing to clean."""
    return "\0sshfleet-" + hashlib.sha256(os.fsencode(root)).hexdigest()[:24]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> None:
    """Copy bytes one way, each chunk `link.delay_s` late and never while the link is cut."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

    async def read() -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await queue.put((time.monotonic(), chunk))
        await queue.put((time.monotonic(), b""))

    task = asyncio.create_task(read())
    try:
        while True:
            arrived_at, chunk = await queue.get()
            await asyncio.sleep(max(0.0, arrived_at + link.delay_s - time.monotonic()))
            await link.open.wait()
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        task.cancel()
        writer.close()


class _Host:
    """A host whose TCP connections faultd answers."""

    def __init__(self, plan: Plan, address: str, role: str) -> None:
        self.sshd = (address, plan.port + 1)
        self.slow_s = plan.slow_s
        self.role = role
        self.link = Link()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._play(reader, writer)
        writer.close()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match self.role:
            case "blackhole":
                while await reader.read(CHUNK_BYTES):
                    pass
            case "banner-only":
                writer.write(b"SSH-2.0-lab\r\n")
                while await reader.read(CHUNK_BYTES):
                    pass
            case "reset":
                linger_0s = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0s)
            case "not-ssh":
                await reader.readline()  # unread bytes would turn the close into a reset
                writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>no\n")
                await writer.drain()
            case _:
                await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.role == "slow-banner":
            await asyncio.sleep(self.slow_s)
        up_reader, up_writer = await asyncio.open_connection(*self.sshd)
        if self.role == "drip-banner":
            for byte in await up_reader.readline():
                writer.write(bytes([byte]))
                await asyncio.sleep(1)
        await asyncio.gather(_pump(reader, up_writer, self.link), _pump(up_reader, writer, self.link))


def _full_queue(address: str, port: int) -> list[socket.socket]:
    """A listener whose accept queue (of one) is full, so that the next SYN is dropped."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex((address, port))
    return [listener, *fillers]


async def _control(links: dict[str, Link], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one order of our own user."""
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("3i", credentials)
    if uid == os.getuid():
        order = msgspec.json.decode(await reader.readline(), type=Order)
        if order.host is not None:
            links[order.host].obey(order)
        writer.write(b"ok\n")
        await writer.drain()
    writer.close()


async def play(root: Path) -> None:
    """Play until killed."""
    plan = msgspec.json.decode((root / "faultd.json").read_bytes(), type=Plan)
    links: dict[str, Link] = {}
    keep: list[object] = []  # listeners and sockets that must stay referenced
    for name, address, role in plan.hosts:
        if role == "synhole":
            keep += _full_queue(address, plan.port)
        else:
            host = _Host(plan, address, role)
            if role == "link":
                links[name] = host.link
            keep.append(await asyncio.start_server(host.serve, address, plan.port))
    keep.append(await asyncio.start_unix_server(lambda r, w: _control(links, r, w), _control_name(root)))
    await asyncio.Event().wait()
