"""fleet_agent.serve: what the holder of a restricted key may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config import HostSpec
from fleet.launch import probe_command, remote_command, snapshot_arguments, stream_arguments
from fleet_agent.serve import arguments
from fleet_agent.tools import PRIVACIES

SPEC = HostSpec("a", interval_s=0.5, privacy="text")


@pytest.mark.parametrize("bundle", [None, "0" * 16])
@pytest.mark.parametrize("command", [None, "/opt/fleet/bin/fleet-agent"])
@pytest.mark.parametrize("asked", [snapshot_arguments(SPEC), stream_arguments(SPEC)])
def test_what_a_collector_sends_is_understood(
    asked: tuple[str, ...], command: str | None, bundle: str | None
) -> None:
    """Every form of fleet.launch, with a privacy that is at most the host's own (PROMISES 9, 13)."""
    sent = remote_command(HostSpec("a", agent_command=command), asked, bundle)
    for most in PRIVACIES:
        assert arguments(sent, most) == [*asked[:-1], most]


def test_the_probe_is_understood() -> None:
    """`fleet hosts check` works with a restricted key."""
    assert arguments(probe_command(), "meta") == ["probe"]


def test_privacy_can_be_lowered() -> None:
    """Who asks for less gets less."""
    assert arguments("fleet-agent snapshot --privacy meta", "text") == ["snapshot", "--privacy", "meta"]
    assert arguments("fleet-agent snapshot", "text") == ["snapshot"]  # whose default is meta


@pytest.mark.parametrize(
    "command",
    [
        None, "", "id", "sh", "/bin/sh", "internal-sftp", "/usr/lib/openssh/sftp-server", "scp -t /tmp",
        "fleet-agent", "fleet-agent ", " fleet-agent snapshot", "fleet-agent snapshot ",
        "fleet-agent  snapshot",
        "fleet-agent snapshot;id", "fleet-agent snapshot\n", "fleet-agent snapshot\nid",
        "fleet-agent snapshot\0",
        "fleet-agent snapshot --privacy all", "fleet-agent snapshot --privacy=text", "fleet-agent snapshot -h",
        "fleet-agent stream --interval -1", "fleet-agent stream --privacy meta --interval 1",
        "fleet-agent hooks install", "fleet-agent serve", "fleet-agent serve --privacy text",
        "fleet-agent --version",
        "x-fleet-agent snapshot", "id; fleet-agent snapshot", "$(id)/fleet-agent snapshot",
        "exec /bin/sh -c 'a'b' fleet-agent snapshot", "exec /bin/sh -c 'a' x fleet-agent snapshot",
        "exec /bin/bash -c 'a' fleet-agent snapshot", "exec /bin/sh -c 'a\nb' fleet-agent snapshot",
        "exec /bin/sh -c '" + "a" * 9000 + "' fleet-agent snapshot",
    ],
)  # fmt: skip
def test_everything_else_is_refused(command: str | None) -> None:
    """Shells, files, other verbs, other flags, forms that are only like the right one (PROMISES 9)."""
    assert arguments(command, "text") is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_but_the_listed_arguments_comes_out(before: str, after: str) -> None:
    """Whatever is sent: the answer is a verb of the list and its own options, or nothing."""
    for command in (before, f"{before} fleet-agent snapshot{after}", f"fleet-agent stream {after}"):
        found = arguments(command, "meta")
        assert found is None or (found[0] in ("snapshot", "stream", "probe") and "text" not in found)
