"""%-tokens and ${VARIABLES} in the paths of ssh_config (ssh_config(5), TOKENS and ENVIRONMENT VARIABLES). Pure.

`ssh -G` prints IdentityFile and CertificateFile as they are written, for ssh expands them after it has
connected; in UserKnownHostsFile and IdentityAgent it has expanded them already.
"""

import re
from collections.abc import Mapping

from fleet.errors import ErrorKind, HostFailure, Phase
from fleet.text import clean

_EXPANDED = re.compile(r"%(?P<letter>.?)|\$\{(?P<variable>[^}]*)(?P<end>\}?)", re.DOTALL)


def expand(text: str, tokens: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """The path that ssh would read. `tokens`: "h" -> the host, and so on. Raises `HostFailure`, where ssh ends.

    >>> expand("~/.ssh/%r@%h-${JOB}%%", {"r": "dev", "h": "gpu"}, {"JOB": "%h"})
    '~/.ssh/dev@gpu-%h%'
    """

    def value(found: re.Match[str]) -> str:
        letter = found["letter"]
        if letter == "%":
            return "%"
        if letter in tokens:
            return tokens[letter]
        if found["end"] and found["variable"] in environ:
            return environ[found["variable"]]
        raise _unknown(text, found)

    return _EXPANDED.sub(value, text)


def _unknown(text: str, found: re.Match[str]) -> HostFailure:
    what = "is no token that fleet knows" if found["variable"] is None else "is not set here"
    return HostFailure(
        ErrorKind.CONFIG,
        Phase.CONFIG,
        f"its ssh_config names the file {clean(text)}: {clean(found[0])} {what}",
        "write that path out in ssh_config",
    )
