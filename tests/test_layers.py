"""The layers of ARCHITECTURE.md, kept by looking at every import statement."""

import ast
import re
from pathlib import Path

import pytest

import fleet
import fleet_agent

SRC = Path(fleet.__file__).parent
AGENT = Path(fleet_agent.__file__).parent

# module (or package) of fleet -> what of fleet it may import, beside its own package
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "text": set(),
    "hosts": {"errors"},
    "paths": {"errors"},
    "config": {"errors", "hosts", "paths"},
    "backoff": {"errors"},
    "model": {"errors"},
    "stream": {"errors", "text"},
    "launch": {"config"},
    "bootstrap": {"errors", "text", "launch"},
    "dialogue": {"errors", "stream", "text"},
    "control": {
        "errors",
        "config",
        "paths",
        "files",
        "dialogue",
        "collector",
        "transport",
        "views",
        "client",
    },
    "installing": {"errors", "config", "collector", "transport"},
    "transport": {"bootstrap", "dialogue", "paths", "errors", "text", "config", "launch", "stream", "backoff"},
    "files": set(),
    "aliases": {"errors"},
    "knownhosts": set(),
    "authorized": {"errors", "launch"},
    "checks": {"errors", "launch", "model", "text"},
    "checking": {"errors", "config", "launch", "checks", "collector", "transport"},
    "inventory": {"errors", "config"},
    "collector": {"errors", "config", "launch", "model", "transport"},
    "streams": {"errors", "config", "launch", "model", "backoff", "transport", "collector"},
    "views": {"errors", "model", "hosts", "changes", "checks"},
    "changes": {"model"},
    "journal": set(),
    "service": {"config", "model", "streams", "changes", "journal", "views"},
    "api": {"errors", "config", "control", "dialogue", "model", "journal", "service", "transport", "views"},
    "daemon": {"errors", "paths", "api", "service"},
    "client": {"paths"},
    "cli": {
        "errors",
        "config",
        "hosts",
        "model",
        "collector",
        "streams",
        "views",
        "text",
        "paths",
        "client",
        "daemon",
        "files",
        "knownhosts",
        "aliases",
        "authorized",
        "launch",
        "checks",
        "checking",
        "installing",
        "inventory",
        "transport",
        "bootstrap",
        "control",
    },
    "__main__": {"cli"},
    "__init__": set(),
}
# library -> the only places that may import it
HELD: dict[str, set[str]] = {
    "asyncssh": {"transport"},
    "uvloop": {"collector"},
    "aiohappyeyeballs": {"transport"},
    "dns": {"transport"},
    "typer": {"cli"},
    "psutil": set(),
    "tomlkit": {"inventory"},
    "subprocess": {"transport", "bootstrap"},
    "socket": {"transport", "client", "daemon"},
    "starlette": {"api"},
    "uvicorn": {"daemon"},
    "prometheus_client": {"api"},
}
ASKS_DAEMONS = Path("tools/codex/daemon.py")  # the only module of the reading agent with a socket
ACTS = Path("control")  # the agent's part that changes the host
WIRES = ("fleet_agent.wire", "fleet_agent.control.wire", "fleet_agent.control.events")
QUOTES = ("text", "fleet_agent.redact.redact")
MODULES = sorted(SRC.rglob("*.py"))
PAGE = Path(__file__).parents[1] / "ARCHITECTURE.md"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _room(path: Path) -> str:
    first = path.relative_to(SRC).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_a_module_imports_only_the_layers_below_it(path: Path) -> None:
    """Every module of fleet imports only what its layer may."""
    room = _room(path)
    used = {name.split(".")[1] for name in _imports(path) if name.startswith("fleet.")}
    assert used - {room, "__version__"} <= ALLOWED[room]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_a_library_is_imported_only_in_its_room(path: Path) -> None:
    """asyncssh only in transport, typer only in cli, and so on."""
    for name in _imports(path):
        top = name.split(".")[0]
        assert _room(path) in HELD.get(top, {_room(path)}), name


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_fleet_imports_the_wires_and_nothing_else_of_the_agent(path: Path) -> None:
    """The collector may meet an agent of another version: it shares the wires with it, not code.

    Nor is what a host says beside its agent (error output) the agent's to redact: `text` does that here.
    """
    for name in _imports(path):
        if name.split(".")[0] == "fleet_agent":
            assert name.startswith(WIRES) or (_room(path), name) == QUOTES, name


@pytest.mark.parametrize("path", sorted(AGENT.rglob("*.py")), ids=lambda p: str(p.relative_to(AGENT)))
def test_the_agent_stands_alone(path: Path) -> None:
    """The agent imports nothing of fleet, no library but msgspec and psutil.

    What only reads has a socket in one module, and never imports what acts.
    """
    place, names = path.relative_to(AGENT), _imports(path)
    libraries = {name.split(".")[0] for name in names}
    assert libraries.isdisjoint({"fleet", "asyncssh", "typer", "uvloop"})
    if not place.is_relative_to(ACTS):
        assert "asyncio" not in libraries
        assert libraries.isdisjoint({"websockets", "socket"}) or place == ASKS_DAEMONS
        acts = {name for name in names if name.startswith("fleet_agent.control")}
        assert not acts or place == Path("__main__.py")
    if ".".join(("fleet_agent", *place.with_suffix("").parts)) in WIRES:
        others = {name for name in names if not name.startswith(WIRES)}
        assert {name.split(".")[0] for name in others} <= {"typing", "msgspec"}


def test_architecture_names_every_module() -> None:
    """ARCHITECTURE.md has every module of the agent, and every module or package of fleet's own."""
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", PAGE.read_text("utf-8")))))
    agent = {path.stem for path in AGENT.rglob("*.py") if not path.stem.startswith("__")}
    rooms = {_room(path) for path in MODULES if not _room(path).startswith("__")}
    assert not sorted((agent | rooms) - words)
