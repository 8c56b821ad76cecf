"""`fleet-agent serve`, the forced command of a key that may only observe: what such a key may ask for.

sshd puts what the client asked for into SSH_ORIGINAL_COMMAND (sshd(8), AUTHORIZED_KEYS FILE FORMAT). None of it
is ever run. A collector sends a script that looks for the agent, and behind it the agent's arguments: this is
the agent, so only the arguments count, and only those of the list below. Pure.
"""

import re

from fleet_agent.tools import PRIVACIES

MAX_COMMAND_CHARS = 8192
PROBE = "probe"
_PRIVACY = f"(?: --privacy (?:{'|'.join(PRIVACIES)}))?"
_ALLOWED = re.compile(
    r"(?:exec /bin/sh -c '[^'\r\n]*' |(?:exec )?(?:[\w.~/-]*/)?)fleet-agent "
    rf"(?P<arguments>{PROBE}|snapshot{_PRIVACY}|stream(?: --interval [0-9.]{{1,8}})?{_PRIVACY})",
    re.ASCII,
)


def arguments(command: str | None, privacy: str) -> list[str] | None:
    """The agent's arguments in what a client asked for, None if it may not have that.

    `privacy` is the most that may leave this machine: who asks for more gets this much.

    >>> arguments("fleet-agent snapshot --privacy text", "title")
    ['snapshot', '--privacy', 'title']
    >>> arguments("sh -c id", "meta") is arguments(None, "meta") is None
    True
    """
    found = _ALLOWED.fullmatch(command) if command and len(command) <= MAX_COMMAND_CHARS else None
    if found is None:
        return None
    words = found["arguments"].split(" ")
    if "--privacy" in words:
        words[-1] = min(words[-1], privacy, key=PRIVACIES.index)
    return words
