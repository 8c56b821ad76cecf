"""A DNS server on loopback: real packets over UDP and TCP, with what a test wants it to say."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from dns.rdatatype import SSHFP

LIMIT_BYTES = 1232  # of a datagram; more is asked for again over TCP


class Nameserver:
    """Answers for SSHFP: `records` are those of each name, as `ssh-keygen -r` writes what follows SSHFP.

    `signed`: it says that it has validated its answers. `code`: answered to everything; `silent`: nothing is.
    """

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.signed = self.silent = False
        self.code = dns.rcode.NOERROR
        self.asked: list[str] = []  # "udp gpu01.example.org."
        self.port = 0

    def resolv_conf(self, path: Path, *, trust_ad: bool = False) -> Path:
        """A resolv.conf(5) that names it; a port is not among what such a file can say."""
        path.write_text(f"# lab\nnameserver 127.0.0.1\n{'options edns0 trust-ad' if trust_ad else ''}\n")
        return path

    def answer(self, query: bytes, carrier: str) -> bytes | None:
        """The packet for a packet."""
        asked = dns.message.from_wire(query)
        name = asked.question[0].name.to_text()
        self.asked.append(f"{carrier} {name}")
        if self.silent:
            return None
        response = dns.message.make_response(asked, recursion_available=True)
        response.set_rcode(self.code)
        if self.code is dns.rcode.NOERROR and name not in self.records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if self.signed:
            response.flags |= dns.flags.AD
        if asked.question[0].rdtype == SSHFP and self.records.get(name):
            response.answer.append(dns.rrset.from_text_list(name, 60, "IN", "SSHFP", self.records[name]))
        packet = response.to_wire(max_size=65535)
        if carrier == "udp" and len(packet) > LIMIT_BYTES:
            response.answer.clear()
            response.flags |= dns.flags.TC
            packet = response.to_wire()
        return packet


@contextmanager
def nameserver() -> Iterator[Nameserver]:
    """One that answers, on a free port of 127.0.0.1."""
    server = Nameserver()

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            packet, sock = self.request
            if answer := server.answer(packet, "udp"):
                sock.sendto(answer, self.client_address)

    class Tcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            sock: socket.socket = self.request
            (size,) = struct.unpack("!H", sock.recv(2, socket.MSG_WAITALL))
            if answer := server.answer(sock.recv(size, socket.MSG_WAITALL), "tcp"):
                sock.sendall(struct.pack("!H", len(answer)) + answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tcp) as tcp:
        server.port = tcp.server_address[1]
        with socketserver.UDPServer(("127.0.0.1", server.port), Udp) as udp:
            for serving in (tcp, udp):
                threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
            try:
                yield server
            finally:
                tcp.shutdown()
                udp.shutdown()
