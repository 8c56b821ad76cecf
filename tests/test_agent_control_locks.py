"""fleet_agent.control.locks: one at a time, among all processes of this user on this host."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_agent.control import locks
from fleet_agent.control.commands import NotPossible

_HOLDER = """
import asyncio, sys
from fleet_agent.control import locks
async def hold():
    async with locks.alone(sys.argv[1], "key"):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    """Of tasks that all want the same key at once, never two have it."""
    inside: list[int] = []
    seen: list[int] = []

    async def work(number: int) -> None:
        async with locks.alone(str(tmp_path), "key"):
            inside.append(number)
            await asyncio.sleep(0.01)
            seen.append(len(inside))
            inside.remove(number)

    async def all_of_them() -> None:
        await asyncio.gather(*map(work, range(5)))

    asyncio.run(all_of_them())
    assert seen == [1] * 5


def test_a_lock_ends_with_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has it: it is waited for, which is said when it takes too long; until it is killed."""
    monkeypatch.setattr(locks, "WAIT_S", 0.05)
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]

    async def take() -> None:
        async with locks.alone(str(tmp_path), "key"):
            pass

    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(NotPossible, match="others have been at it") as waited:
            asyncio.run(take())
        holder.kill()
    assert waited.value.kind == "timeout"
    asyncio.run(take())


def test_what_cannot_be_locked_is_not_done(tmp_path: Path) -> None:
    """Without a state directory nothing is answered: two might do it at once."""

    async def take() -> None:
        async with locks.alone(str(tmp_path / "file"), "key"):
            pytest.fail("it was done")

    (tmp_path / "file").write_text("no directory")
    with pytest.raises(NotPossible, match="nothing was done"):
        asyncio.run(take())


def test_any_number_of_keys_makes_few_files(tmp_path: Path) -> None:
    """Nothing has to be removed, however many sessions there were."""

    async def take() -> None:
        for number in range(300):
            async with locks.alone(str(tmp_path), f"key {number}"):
                pass

    asyncio.run(take())
    files = [*(tmp_path / "locks").iterdir()]
    assert 1 < len(files) <= locks.FILES
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
