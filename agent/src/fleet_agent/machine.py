"""Who this machine is: what the `hello` line says."""

import hashlib
import os
import pwd
import sys
import time

from fleet_agent import __version__, native
from fleet_agent.files import read_small
from fleet_agent.wire import SCHEMA, Hello

# machine-id(5): the id must not be shown to others as it is; hash it with a key of the application.
_HOST_ID_KEY = b"fleet-sessions host id, 1"
_PYTHON = sys.version.split()[0]
_MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostid")


def hello() -> Hello:
    """The first line of the agent, as of now."""
    system = os.uname()
    return Hello(
        schema=SCHEMA,
        agent_version=__version__,
        host_id=host_id(machine_id()),
        boot_id=boot_id(),
        hostname=system.nodename,
        os=f"{system.sysname} {system.release} {system.machine}",
        python=_PYTHON,
        user=user_name(os.geteuid()),
        now=time.time(),
    )


def probe() -> str:
    """What a collector's probe wants to know, as its script says it where no key is restricted."""
    return (
        f"python={sys.executable} {_PYTHON}\n"
        f"agent={os.path.abspath(sys.argv[0])} fleet-agent {__version__}\nprobed=yes"
    )


def host_id(machine: bytes) -> str:
    """32 hexadecimal digits which name the machine without giving its id away."""
    return hashlib.blake2b(machine, key=_HOST_ID_KEY, digest_size=16).hexdigest()


def machine_id() -> bytes:
    """The machine's own id; its name where there is none (a bare container)."""
    for path in _MACHINE_ID_FILES:
        try:
            found = read_small(path, 256).strip()
        except OSError:
            continue
        if found and found != b"uninitialized":
            return found
    return _apple_host_uuid() or os.fsencode(os.uname().nodename)


def boot_id() -> str:
    """What changes with each start of the machine."""
    try:
        return read_small("/proc/sys/kernel/random/boot_id", 64).decode("ascii").strip()
    except OSError:
        return f"booted-at-{native.booted_at():.0f}"


def user_name(uid: int) -> str:
    """The name of a user, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _apple_host_uuid() -> bytes:
    """macOS: gethostuuid(2), the hardware UUID, without starting `ioreg`."""
    if sys.platform != "darwin":
        return b""
    import ctypes

    uuid, wait = ctypes.create_string_buffer(16), (ctypes.c_long * 2)(1, 0)
    failed = ctypes.CDLL(None).gethostuuid(uuid, wait)
    return b"" if failed else uuid.raw
