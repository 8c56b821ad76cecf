"""fleet.api.metrics: what Prometheus reads."""

import asyncio
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fleet.api import metrics
from serving import IDLE, ODD, WAITING, served, write_config

Sample = tuple[str, frozenset[tuple[str, str]]]


def exposed(tmp_path: Path) -> dict[Sample, float]:
    async def scene() -> bytes:
        async with served(write_config(tmp_path / "hosts.toml", WAITING, IDLE, ODD)) as service:
            return metrics.exposition(service, time.monotonic())

    text = asyncio.run(scene()).decode()
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def test_the_fleet_in_numbers(tmp_path: Path) -> None:
    """Hosts, sessions by state, how long somebody was waited for, how full windows and limits are."""
    values = exposed(tmp_path)
    local = {"host": "local", "tool": "codex"}
    assert values[of("fleet_host_up", host="local")] == 1
    assert values[of("fleet_sessions", **local, state="waiting")] == 1
    assert values[of("fleet_sessions", **local, state="working")] == 0
    assert 60 <= values[of("fleet_waiting_oldest_seconds", **local)] < 90
    assert values[of("fleet_context_used_ratio_max", **local)] == 0.5
    assert values[of("fleet_rate_limit_used_ratio_max", **local)] == 0.95
    assert values[of("fleet_tokens", **local)] == 15
    assert values[of("fleet_hosts")] == 2


def test_a_host_that_cannot_be_read_is_not_zero(tmp_path: Path) -> None:
    """It is down, and nothing is said of its sessions."""
    values = exposed(tmp_path)
    assert values[of("fleet_host_up", host="dead")] == 0
    assert values[of("fleet_host_failed_attempts", host="dead")] >= 1
    assert not [labels for name, labels in values if name == "fleet_sessions" and ("host", "dead") in labels]


def test_labels_are_few_and_ours(tmp_path: Path) -> None:
    """Host, tool and state only; a tool that we do not know is `other`, whatever it says (PROMISES 27)."""
    values = exposed(tmp_path)
    labels = {label for name, pairs in values if name.startswith("fleet_") for label in pairs}
    assert {name for name, _ in labels} == {"host", "tool", "state"}
    assert {value for name, value in labels if name == "tool"} == {"codex", "other"}
    assert values[of("fleet_stuck_sessions", host="local", tool="other")] == 1
    assert of("fleet_tokens", host="local", tool="other") not in values  # not known, so not 0
