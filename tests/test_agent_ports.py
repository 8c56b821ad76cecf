"""fleet_agent.ports: who listens on what."""

import os
import socket
import subprocess
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_agent import procfs
from fleet_agent.ports import FULL_S, REFRESH_S, Ports, PortsOf

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


def listening(*pids: int) -> PortsOf:
    return Ports().of(dict.fromkeys(pids, 1.0))


@pytest.mark.skipif(not procfs.AVAILABLE, reason="it is the same as above")
def test_where_there_is_no_proc_the_ports_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil is asked, process by process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(procfs, "AVAILABLE", False)
        assert server.getsockname()[1] in listening(os.getpid())[os.getpid()]


def test_a_long_table_is_read_to_its_end() -> None:
    """The kernel hands out a page at a time; the tables of a busy host have many."""
    with ExitStack() as opened:
        servers = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(100)]
        ports = {server.getsockname()[1] for server in servers}
        assert ports <= set(procfs.listening_sockets().values())


class Watched:
    """The ports of this process, and how often the table of all sockets was read for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.readings = 0.0, 0
        self._ports = Ports(lambda: self.now_s)
        read = procfs.listening_sockets

        def counted() -> dict[int, int]:
            self.readings += 1
            return read()

        monkeypatch.setattr(procfs, "listening_sockets", counted)

    def read(self, *pids: int) -> set[int]:
        """Some time later."""
        self.now_s += REFRESH_S
        found = self._ports.of(dict.fromkeys(pids, 1.0))
        return {port for ports in found.values() for port in ports}


@pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
def test_the_table_is_read_when_other_sockets_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dear, and ports change seldom: it is read twice for each change, and now and then."""
    watched, me = Watched(monkeypatch), os.getpid()
    with socket.create_server(("127.0.0.1", 0)) as first, ExitStack() as later:
        port = first.getsockname()[1]
        assert port in watched.read(me)
        assert port in watched.read(me)
        assert [port in watched.read(me) for _ in range(3)] == [True] * 3
        assert watched.readings == 2
        other = later.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        assert {port, other} <= watched.read(me)
        assert other in watched.read(me)
        watched.now_s, watched.readings = watched.now_s + FULL_S, 0
        assert [other in watched.read(me) for _ in range(3)] == [True] * 3
        assert watched.readings == 1
    assert not {port, other} & watched.read(me)


@pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
def test_a_server_that_moves_to_another_port_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has as many files open as before. Who listens is looked at each time, the others now and then."""
    watched, me = Watched(monkeypatch), os.getpid()
    with ExitStack() as later, open(os.devnull) as file:
        others = watched.read(me)  # of other tests, which share this process
        file.close()
        first = later.enter_context(socket.create_server(("127.0.0.1", 0)))
        watched.now_s += FULL_S
        assert watched.read(me) == {*others, first.getsockname()[1]}
        second = later.enter_context(socket.create_server(("127.0.0.1", 0)))
        first.close()
        assert watched.read(me) == {*others, second.getsockname()[1]}


@pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
def test_who_holds_no_socket_listens_on_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """For no process, and for those without sockets, the table is not read."""
    watched = Watched(monkeypatch)
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as sleeper:
        assert [watched.read(), watched.read(sleeper.pid), watched.read(sleeper.pid)] == [set()] * 3
        sleeper.kill()
    assert watched.readings == 0


@pytest.mark.skipif(not procfs.AVAILABLE, reason="/proc is Linux's")
def test_a_new_process_is_looked_at_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has the pid of another."""
    watched, me = Watched(monkeypatch), os.getpid()
    ports = Ports(lambda: 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.of({}) == {}
        assert port in ports.of({me: 1.0})[me]
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] not in ports.of({me: 1.0})[me]
        assert server.getsockname()[1] in ports.of({me: 2.0})[me]
    assert watched.readings == 2
