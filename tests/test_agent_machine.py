"""fleet_agent.machine: who this machine is."""

import os
import platform
import time
from pathlib import Path

import msgspec
import pytest

from fleet_agent import __version__, machine
from fleet_agent.wire import SCHEMA


def test_hello_names_the_machine_and_the_agent() -> None:
    """The first line says which machine speaks, in which schema, by which clock."""
    hello = machine.hello()
    assert (hello.schema, hello.agent_version) == (SCHEMA, __version__)
    assert abs(hello.now - time.time()) < 5
    assert hello.hostname == os.uname().nodename
    assert hello.user == machine.user_name(os.geteuid())
    assert all(getattr(hello, field) for field in ("host_id", "boot_id", "os", "python"))


def test_the_machine_id_itself_never_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its keyed hash is sent (machine-id(5)); the same machine has the same hash."""
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(machine, "_MACHINE_ID_FILES", (str(tmp_path / "machine-id"),))
    raw = machine.machine_id()
    assert raw == b"0123456789abcdef0123456789abcdef"
    assert raw not in msgspec.json.encode(machine.hello())
    assert machine.host_id(raw) == machine.hello().host_id == machine.hello().host_id
    assert machine.host_id(b"another") != machine.host_id(raw)
    assert len(machine.host_id(raw)) == 32


def test_a_machine_without_an_id_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare container has no machine-id: its name is the next best, and still told only as a hash."""
    monkeypatch.setattr(machine, "_MACHINE_ID_FILES", (str(tmp_path / "none"),))
    assert machine.machine_id() == os.fsencode(platform.node())
    assert machine.hello().host_id == machine.host_id(os.fsencode(platform.node()))


def test_a_user_without_a_name_is_a_number() -> None:
    """Containers run as users that no passwd file knows."""
    assert machine.user_name(0) == "root"
    assert machine.user_name(3_999_999_999) == "3999999999"
