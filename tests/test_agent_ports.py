"""fleet_agent.ports: who listens on what."""

import os
import socket
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_agent import native, procfs
from fleet_agent.ports import REFRESH_S, Ports

TABLE = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777
   2: 0100007F:A2C4 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 999
"""


def test_the_listening_sockets_of_a_table() -> None:
    """proc_pid_net(5): address:port in hexadecimal, state 0A, inode."""
    assert procfs.parse_listening(TABLE) == {12345: 8080, 777: 22}


@given(st.integers(0, len(TABLE)))
def test_a_table_that_was_cut_is_no_error(end: int) -> None:
    """It is read up to a bound."""
    assert set(procfs.parse_listening(TABLE[:end])) <= {12345, 777, 1234, 123, 12, 1, 77, 7}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_ports_of_a_real_process(family: socket.AddressFamily) -> None:
    """IPv4 and IPv6; what is only connected is not listening."""
    with socket.socket(family) as server:
        try:
            server.bind(("localhost", 0))
        except OSError:
            pytest.skip("this machine has no such addresses")
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(server.getsockname()[:2]) as client:
            ports = listening(os.getpid(), 2**22 + 1)[os.getpid()]
            assert port in ports
            assert client.getsockname()[1] not in ports
    assert port not in listening(os.getpid()).get(os.getpid(), ())


def listening(*pids: int) -> dict[int, tuple[int, ...]]:
    return native.listening_ports(pids, native.listening_sockets())


def test_a_long_table_is_read_to_its_end() -> None:
    """The kernel hands out a page at a time; the tables of a busy host have many."""
    with ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(100)]
        ports = {server.getsockname()[1] for server in servers}
        assert ports <= set((native.listening_sockets() or {}).values())


def test_processes_are_looked_at_when_they_or_the_hosts_ports_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a process is dear, and ports change seldom; for no process nothing is read at all."""
    now_s, sockets, asked = 0.0, {5: 80}, []

    def read(pids: frozenset[int], sockets: dict[int, int]) -> dict[int, tuple[int, ...]]:
        asked.append(set(pids))
        return {1: (80,)} if 1 in pids else {}

    monkeypatch.setattr(native, "listening_sockets", lambda: dict(sockets))
    monkeypatch.setattr(native, "listening_ports", read)
    ports = Ports(lambda: now_s)
    assert ports.of(set()) == {}
    assert [ports.of({1}), ports.of({1}), ports.of({1, 2})] == [{1: (80,)}] * 3
    sockets[6] = 81
    assert ports.of({1, 2}) == {1: (80,)}
    now_s = REFRESH_S
    ports.of({1, 2})
    assert asked == [{1}, {2}, {1, 2}]
    assert ports.of({2}) == {}
