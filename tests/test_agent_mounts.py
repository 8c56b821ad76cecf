"""fleet_agent.mounts: file systems that other hosts share."""

import pytest

from fleet_agent.mounts import Mounts, file_system

TYPES = {"/": "ext4", "/home": "nfs4", "/home/me/local": "xfs", "/mnt/x": "fuse.sshfs"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/.codex/sessions/x", "nfs4"),
        ("/home/me/local/x", "xfs"),
        ("/homes/x", "ext4"),
        ("/mnt/x", "fuse.sshfs"),
        ("/", "ext4"),
        ("relative", "ext4"),
    ],
)
def test_the_longest_mount_point_counts(path: str, expected: str) -> None:
    """A path is on the file system that is mounted closest above it."""
    assert file_system(path, TYPES) == expected


def test_a_file_system_of_this_machine_is_not_on_the_network() -> None:
    """/proc is local, whatever else is mounted here; without a mount table nothing is claimed."""
    assert not Mounts().on_network("/proc/self/stat")
    assert file_system("/x", {}) == ""
