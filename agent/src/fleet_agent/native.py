"""What the system says of processes and of the machine: Linux's own /proc where there is one, else psutil."""

from collections.abc import Iterable

from fleet_agent import procfs

if procfs.AVAILABLE:
    from fleet_agent.procfs import (
        argv,
        booted_at,
        busy,
        cwd,
        environ,
        file_systems,
        glance,
        image,
        memory,
        pids,
        stat,
        uid,
    )
else:
    from fleet_agent.portable import (
        argv,
        booted_at,
        busy,
        cwd,
        environ,
        file_systems,
        glance,
        image,
        memory,
        pids,
        stat,
        uid,
    )
if procfs.HAS_CHILDREN:
    from fleet_agent.procfs import children
else:
    from fleet_agent.portable import children

__all__ = [
    "argv",
    "booted_at",
    "busy",
    "children",
    "cwd",
    "environ",
    "file_systems",
    "glance",
    "image",
    "memory",
    "pids",
    "stat",
    "uid",
    "variables",
]


def variables(pid: int, names: Iterable[str]) -> dict[str, str] | None:
    """Some variables of its environment; None where it may not be read."""
    raw = environ(pid)
    return None if raw is None else procfs.parse_environ(raw, names)
