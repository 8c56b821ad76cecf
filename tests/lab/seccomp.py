"""Run a program with the system calls that a systemd unit leaves it:

    python -m lab.seccomp UNIT PROGRAM [ARGUMENT...]

SystemCallFilter=, MemoryDenyWriteExecute= and RestrictAddressFamilies= are put into force as systemd.exec(5)
describes them, with libseccomp, which systemd itself uses. What a unit does to the file system, and the rest of
its system call rules (about namespaces, real-time scheduling, set-user-ID bits), is not.
"""

import ctypes
import errno
import mmap
import os
import socket
import sys
from pathlib import Path

from lab import systemd

_ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW
_REFUSE = 0x00050000 | errno.EPERM  # SCMP_ACT_ERRNO(EPERM)
_EQUAL, _GREATER, _MASKED_EQUAL = 4, 6, 7  # enum scmp_compare
_NO_SUCH_CALL = -1  # __NR_SCMP_ERROR
_SHM_EXEC = 0o100000
_MANY_FAMILIES = 63  # past Linux's last, 45 as of 6.18


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp: `argument` (its number) against `a`, or, masked with `a`, against `b`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


class _Filter:
    """One seccomp filter; a call must pass every one that is loaded."""

    def __init__(self, otherwise: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, call: str, *compare: _Compare) -> None:
        """This action for a call whose arguments compare so; a call that this machine lacks is passed over."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == _NO_SUCH_CALL:
            return
        array = (_Compare * len(compare))(*compare)
        failed = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compare), array
        )
        # EDOM: the call exists on other architectures only.
        assert failed in (0, -errno.EDOM), f"{call}: {os.strerror(-failed)}"

    def load(self) -> None:
        """Put it into force, for good; no_new_privs is set, too."""
        failed = self._library.seccomp_load(self._context)
        assert not failed, os.strerror(-failed)


def enforce(unit: Path) -> None:
    """Restrict this process, and all that it starts, as the unit says."""
    settings = systemd.settings(unit)
    families = settings["RestrictAddressFamilies"][-1].split()
    calls = systemd.allowed_calls(settings["SystemCallFilter"])
    filters = [_address_families({getattr(socket, family) for family in families})]
    if settings["MemoryDenyWriteExecute"][-1] == "yes":
        filters.append(_no_writable_code())
    filters.append(_calls(calls))  # the last: it may not leave the call that loads filters
    for each in filters:
        each.load()


def _calls(allowed: set[str]) -> _Filter:
    found = _Filter(_REFUSE)
    for call in sorted(allowed):
        found.add(_ALLOW, call)
    return found


def _address_families(allowed: set[int]) -> _Filter:
    found = _Filter(_ALLOW)
    for family in set(range(_MANY_FAMILIES + 1)) - allowed:
        found.add(_REFUSE, "socket", _Compare(0, _EQUAL, family))
    found.add(_REFUSE, "socket", _Compare(0, _GREATER, _MANY_FAMILIES))
    return found


def _no_writable_code() -> _Filter:
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    found = _Filter(_ALLOW)
    found.add(_REFUSE, "mmap", _Compare(2, _MASKED_EQUAL, both, both))
    for call in ("mprotect", "pkey_mprotect"):
        found.add(_REFUSE, call, _Compare(2, _MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    found.add(_REFUSE, "shmat", _Compare(2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
    return found


if __name__ == "__main__":
    enforce(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
