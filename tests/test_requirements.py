"""The pins that every set-up installs."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECTS = ("pyproject.toml", "agent/pyproject.toml")
PINS = ("requirements.txt", "requirements-dev.txt")


def asked_for() -> list[Requirement]:
    """What the two packages require, without each other."""
    projects = [tomllib.loads((ROOT / name).read_text())["project"] for name in PROJECTS]
    found = [Requirement(line) for project in projects for line in project["dependencies"]]
    return [requirement for requirement in found if not requirement.name.startswith("fleet-sessions")]


def pinned(name: str) -> dict[str, str]:
    """Package -> version, of a file of pins."""
    return dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", PINS)
def test_pins_are_what_the_packages_ask_for(name: str) -> None:
    """Every requirement of both packages is pinned, to a version that they accept: else run `make lock`."""
    versions = pinned(name)
    for requirement in asked_for():
        assert requirement.specifier.contains(versions[requirement.name]), f"{requirement}: run `make lock`"


def test_development_runs_on_what_users_run_on() -> None:
    """The tests' environment has exactly the versions of the users', and more."""
    assert pinned("requirements.txt").items() <= pinned("requirements-dev.txt").items()


@pytest.mark.parametrize(
    ("name", "too_old"),
    [
        ("msgspec", "0.20.0"),  # its errors were no ValueErrors yet, as which they are caught everywhere
        ("psutil", "5.9.8"),  # had no Process.net_connections, which tells the ports where there is no /proc
        ("websockets", "14.0"),  # raised a ValueError of its own for an answer that is no HTTP
    ],
)
def test_what_is_too_old_is_not_accepted(name: str, too_old: str) -> None:
    """Where a host has releases of its own, the agent works with each that its requirements let pass."""
    bounds = [requirement.specifier for requirement in asked_for() if requirement.name == name]
    assert bounds
    assert not any(bound.contains(too_old) for bound in bounds)


@pytest.mark.parametrize("name", PINS)
def test_pins_name_no_host_and_have_hashes(name: str) -> None:
    """Packages come from whatever index the machine uses, and are what they were when they were pinned."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)
    assert len(packages) == len(pinned(name))
