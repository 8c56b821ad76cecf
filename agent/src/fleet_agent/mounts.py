"""Which file systems are on the network: a file there may be held open by a process on another host."""

import re
import time
from collections.abc import Callable

from fleet_agent import native

TTL_S = 60.0

_NETWORK = re.compile(
    r"nfs4?|cifs|smb3|smbfs|9p|virtiofs|afs|ceph|lustre|gpfs|beegfs|glusterfs|pvfs2|orangefs|ocfs2|gfs2|coda|afpfs"
    r"|webdav|davfs|fuse\.(glusterfs|sshfs|ceph|rclone|s3fs)"
)


class Mounts:
    """The network mounts of this host, listed now and then. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = clock()
        self._types: dict[str, str] = {}

    def on_network(self, path: str) -> bool:
        """Whether the file system that `path` is on is shared with other hosts."""
        if self._clock() >= self._due_s:
            self._due_s = self._clock() + TTL_S
            self._types = native.file_systems()
        return _NETWORK.fullmatch(file_system(path, self._types)) is not None


def file_system(path: str, types: dict[str, str]) -> str:
    """The type of the file system with the longest mount point above `path`. Pure."""
    while path not in types:
        if path in ("/", ""):
            return types.get("/", "")
        path = path.rpartition("/")[0] or "/"
    return types[path]
