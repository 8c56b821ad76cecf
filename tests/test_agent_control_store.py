"""fleet_agent.control.store: the directory of runs."""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from fleet_agent.control.groups import start_ticks
from fleet_agent.control.store import Ended, Facts, NameTaken, Store, private_directory, socket_path, state_of
from fleet_agent.control.wire import Run
from fleet_agent.machine import boot_id

NOW = 1_700_000_000.0


def facts(name: str = "x", **run: object) -> Facts:
    fields = {"created_at": NOW, **run}
    return Facts(Run(name, "codex", "exec", "running", **fields), "mark", boot_id())  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "state/fleet-agent"))


def test_a_run_has_a_name_of_its_own(store: Store) -> None:
    """A name is given once, at the same moment too; names that are made up are never those of others."""
    assert store.create(facts, "mine").name == "mine"
    with pytest.raises(NameTaken):
        store.create(facts, "mine")

    def create(_: int) -> bool:
        try:
            store.create(facts, "race")
        except NameTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(32))) == 1
        made_up = {entry.name for entry in pool.map(lambda _: store.create(facts, None), range(32))}
    assert len(made_up) == 32
    assert {entry.name for entry in store.entries()} == made_up | {"mine", "race"}
    assert all(entry.facts().run.name == entry.name for entry in store.entries())


def test_a_run_that_cannot_be_made_leaves_nothing(store: Store) -> None:
    """An error in the middle leaves no directory behind."""

    def fail(name: str) -> Facts:
        raise RuntimeError(name)

    with pytest.raises(RuntimeError):
        store.create(fail, "mine")
    with pytest.raises(TypeError):
        store.create(lambda _: object(), "mine")  # type: ignore[arg-type, return-value]
    assert os.listdir(store.runs) == []


def test_only_the_owner_reads_it(store: Store) -> None:
    """Directories 0700 and files 0600, whatever the umask was."""
    before = os.umask(0)
    try:
        entry = store.create(facts, "mine")
        entry.write_ended(Ended(NOW))
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in Path(store.root).rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert Path(store.root).stat().st_mode & 0o777 == 0o700


def test_newest_first(store: Store) -> None:
    """Runs are listed by when they were started."""
    for age_s, name in enumerate(("now", "before", "long-ago")):
        store.create(lambda name, age_s=age_s: facts(name, created_at=NOW - age_s), name)  # type: ignore[misc]
    assert [entry.name for entry in store.entries()] == ["now", "before", "long-ago"]


def test_the_state_of_a_run() -> None:
    """running while its supervisor is that very process; exited once that is written; else lost."""
    mine = facts(pid=os.getpid(), started_ticks=start_ticks(os.getpid()))
    assert state_of(mine, None, NOW) == "running"
    assert state_of(mine, Ended(NOW), NOW) == "exited"
    assert state_of(facts(pid=os.getpid(), started_ticks=1), None, NOW) == "lost"  # the pid is another's now
    rebooted = msgspec.structs.replace(mine, boot_id="of yesterday")
    assert state_of(rebooted, None, NOW) == "lost"
    assert state_of(facts(), None, NOW + 1) == "running"  # its supervisor is just being started
    assert state_of(facts(), None, NOW + 100) == "lost"
    assert state_of(facts(), None, NOW - 100) == "lost"


def test_facts_that_cannot_be_read(store: Store) -> None:
    """A run whose file was damaged is still there to be seen and deleted, with nothing to be signalled."""
    entry = store.create(lambda name: facts(name, pid=os.getpid()), "mine")
    for damage in (b"", b"{", b"[]", b'{"run":{"name":"other"}}'):
        Path(entry.directory, "run.json").write_bytes(damage)
        run = entry.run()
        assert (run.name, run.state, run.pid) == ("mine", "lost", None)
        assert entry.facts().processes() == []
    store.delete(entry)
    assert store.names() == []
    with pytest.raises(FileNotFoundError):
        store.delete(entry)


def test_a_run_tells_the_sizes_of_its_logs_and_its_end(store: Store) -> None:
    """What is in the store is in the run."""
    entry = store.create(facts, "mine")
    Path(entry.events_path + ".0").write_bytes(b"12345\n")
    Path(entry.stderr_path + ".100").write_bytes(b"1")
    entry.write_ended(Ended(NOW + 5, exit_code=3))
    run = entry.run()
    assert (run.out_bytes, run.err_bytes) == (6, 101)
    assert (run.state, run.ended_at, run.exit_code, run.signal) == ("exited", NOW + 5, 3, None)


def test_the_path_of_a_socket_is_never_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sun_path has 104 bytes: a deep directory's socket is elsewhere, in a directory of this user's alone."""
    assert socket_path("/short", {}) == "/short/control.sock"
    with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as runtime:
        deep = [str(tmp_path / ("d" * 100) / name) for name in ("a", "b")]
        paths = {socket_path(directory, {"XDG_RUNTIME_DIR": runtime}) for directory in deep}
        assert len(paths) == 2
        for path in paths:
            assert path.startswith(f"{runtime}/fleet-agent-{os.geteuid()}/")
            assert len(path) <= 100
            assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
        shutil.rmtree(os.path.dirname(path))
        os.symlink("/etc", os.path.dirname(path))
        with pytest.raises(PermissionError, match="remove it"):
            socket_path(deep[0], {"XDG_RUNTIME_DIR": runtime})


def test_a_directory_that_others_may_read_is_closed(tmp_path: Path) -> None:
    """Made by an older program, say."""
    (tmp_path / "open").mkdir(mode=0o755)
    private_directory(str(tmp_path / "open"))
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700


def test_what_was_left_half_made_is_swept_up(store: Store) -> None:
    """Once nobody can be at it any more; runs are not touched."""
    store.create(facts, "mine")
    for name in (".new-1", ".gone-2", ".other"):
        os.mkdir(f"{store.runs}/{name}")
    now = os.stat(store.runs).st_mtime
    store.sweep(now + 10)
    assert len(os.listdir(store.runs)) == 4
    store.sweep(now + 10_000)
    assert sorted(os.listdir(store.runs)) == [".other", "mine"]
    Store(f"{store.root}/none").sweep(now)
