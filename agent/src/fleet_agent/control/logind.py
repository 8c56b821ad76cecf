"""Whether a run ends when its user logs out, as systemd-logind may see to it. Reads files, asks nobody.

What a login starts is in its `session-N.scope`: logind ends that, or leaves it alone, as logind.conf(5) says
(KillUserProcesses), whether the user lingers or not. What the user's own systemd started is in its service
`user@UID.service`, which ends with the last login of a user who does not linger: loginctl(1).
"""

import glob
import os
import pwd
import re
from collections.abc import Iterable

from fleet_agent.files import read_small

PLACES = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")  # the first one counts
LINGER = "/var/lib/systemd/linger"
MAX_CONFIG_BYTES = 64 << 10

_SETTING = re.compile(r"\s*(#?)(KillUserProcesses|KillOnlyUsers|KillExcludeUsers)\s*=(.*)")
_YES = ("1", "yes", "y", "true", "t", "on")
_SESSION = re.compile(r"/session-[^/]*\.scope(/|$)", re.MULTILINE)
_MANAGER = re.compile(r"/user@\d+\.service(/|$)", re.MULTILINE)


def warning(pid: int) -> str:
    """What is to be said of a process that was started to stay; empty where nothing endangers it."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
        cgroup = read_small(f"/proc/{pid}/cgroup", MAX_CONFIG_BYTES).decode()
    except (OSError, KeyError, UnicodeDecodeError):
        return ""
    return end_at_logout(cgroup, configuration(PLACES), user, os.path.exists(os.path.join(LINGER, user)))


def end_at_logout(cgroup: str, configs: Iterable[str], user: str, lingers: bool) -> str:
    """Why a process ends when its user logs out, and the fix; empty if it stays. Pure.

    `cgroup`: of /proc/PID/cgroup; `configs`: what logind is configured by, the last one counts most.
    """
    if _SESSION.search(cgroup) and kills(configs, user):
        return (
            "systemd ends it when you log out of this host (KillUserProcesses=yes); to keep it, have"
            f" KillExcludeUsers=root {user} set in /etc/systemd/logind.conf"
        )
    if _MANAGER.search(cgroup) and not lingers:
        return "systemd ends it when you log out of this host; to keep it: loginctl enable-linger"
    return ""


def kills(configs: Iterable[str], user: str) -> bool:
    """Whether logind ends what is left of a session of this user. Pure.

    What a configuration file has as a comment is the default that its systemd was built with.
    """
    default, lists = "no", {"KillOnlyUsers": [""], "KillExcludeUsers": ["root"]}
    found = None
    for line in (line for config in configs for line in config.splitlines()):
        match = _SETTING.match(line)
        if match is None:
            continue
        comment, name, value = match[1], match[2], match[3].strip()
        if name == "KillUserProcesses":
            default, found = (value, found) if comment else (default, value)
        elif not comment:
            lists[name] = [*lists[name], *value.split()] if value else []
    only = [name for name in lists["KillOnlyUsers"] if name]
    return (
        (found or default).lower() in _YES
        and user not in lists["KillExcludeUsers"]
        and (not only or user in only)
    )


def configuration(places: Iterable[str]) -> list[str]:
    """The texts of logind.conf and of what is dropped in beside it, in the order in which they are read."""
    dropped: dict[str, str] = {}
    main: list[str] = []
    for place in places:
        main += [path for path in (os.path.join(place, "logind.conf"),) if os.path.exists(path)]
        for path in glob.glob(os.path.join(glob.escape(place), "logind.conf.d", "*.conf")):
            dropped.setdefault(os.path.basename(path), path)
    texts = []
    for path in [*main[:1], *(dropped[name] for name in sorted(dropped))]:
        try:
            texts.append(read_small(path, MAX_CONFIG_BYTES).decode(errors="replace"))
        except OSError:
            continue  # not ours to read
    return texts
