"""The fleet in Prometheus's text form.

Labels are host, tool and state, and nothing else: bounded in number, and no text of anybody's in them. A host
that cannot be read is `fleet_host_up 0` and has no counts of sessions: unknown is no zero.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from fleet.model import HostState, Link
from fleet.service import Service
from fleet.views.rows import Row, context_percent, rows
from fleet_agent.wire import STATES, TOOLS

CONTENT_TYPE = CONTENT_TYPE_LATEST
_READABLE = (Link.UP, Link.SLOW)


def exposition(service: Service, now_mono_s: float) -> bytes:
    """All metrics at one moment of the monotonic clock."""
    registry = CollectorRegistry()
    registry.register(_Fleet(service, now_mono_s))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Fleet(Collector):
    def __init__(self, service: Service, now_mono_s: float) -> None:
        self._service = service
        self._fleet = service.streams.fleet
        self._now_mono_s = now_mono_s

    def collect(self) -> Iterator[Metric]:
        """Metric families."""
        hosts = list(self._fleet.hosts.values())
        yield GaugeMetricFamily("fleet_hosts", "Hosts that are followed.", len(hosts))
        yield GaugeMetricFamily(
            "fleet_daemon_start_time_seconds",
            "When the daemon started, in epoch seconds.",
            self._service.started_at,
        )
        yield GaugeMetricFamily(
            "fleet_daemon_loop_lag_seconds", "Longest delay of the event loop lately.", self._service.lag_s(1)
        )
        yield from _of_hosts(hosts, self._now_mono_s)
        readable = {host.name for host in hosts if host.link in _READABLE}
        listed = [row for row in rows(self._fleet, self._now_mono_s) if row.host in readable]
        yield from _of_sessions(listed)
        yield from _of_snapshots([host for host in hosts if host.link in _READABLE])


def _of_hosts(hosts: Iterable[HostState], now_mono_s: float) -> Iterator[Metric]:
    up = GaugeMetricFamily("fleet_host_up", "Whether a host is read now.", labels=["host"])
    age = GaugeMetricFamily("fleet_host_last_seen_age_seconds", "Since a host was last read.", labels=["host"])
    attempts = GaugeMetricFamily("fleet_host_failed_attempts", "Failed attempts in a row.", labels=["host"])
    skew = GaugeMetricFamily(
        "fleet_host_clock_skew_seconds", "The host's clock less this machine's.", labels=["host"]
    )
    for host in hosts:
        up.add_metric([host.name], float(host.link in _READABLE))
        attempts.add_metric([host.name], host.attempts)
        if host.reading:
            age.add_metric([host.name], max(0.0, now_mono_s - host.reading.arrived_mono_s))
            skew.add_metric([host.name], host.reading.skew_s)
    yield from (up, age, attempts, skew)


def _of_sessions(listed: Iterable[Row]) -> Iterator[Metric]:
    sessions = GaugeMetricFamily("fleet_sessions", "Sessions by state.", labels=["host", "tool", "state"])
    stuck = GaugeMetricFamily(
        "fleet_stuck_sessions", "Sessions in a turn in which nothing moves.", labels=_PAIR
    )
    waiting = GaugeMetricFamily(
        "fleet_waiting_oldest_seconds", "The longest that a session has waited for a person.", labels=_PAIR
    )
    context = GaugeMetricFamily(
        "fleet_context_used_ratio_max", "The fullest context window of a live session.", labels=_PAIR
    )
    tokens = GaugeMetricFamily("fleet_tokens", "Tokens of the listed sessions.", labels=_PAIR)
    for (host, tool), group in sorted(_by_pair(listed).items()):
        states = Counter(row.session.state for row in group)
        for state in STATES:
            sessions.add_metric([host, tool, state], states[state])
        stuck.add_metric([host, tool], sum(row.session.detail == "stuck" for row in group))
        waits = [row.age_s for row in group if row.session.state == "waiting" and row.age_s is not None]
        waiting.add_metric([host, tool], max(waits, default=0.0))
        fills = [p for row in group if row.session.state != "ended" and (p := context_percent(row.session))]
        if fills:  # unknown is no zero
            context.add_metric([host, tool], max(fills) / 100)
        if known := [row.session.tokens.total for row in group if row.session.tokens]:
            tokens.add_metric([host, tool], sum(known))
    yield from (sessions, stuck, waiting, context, tokens)


def _of_snapshots(hosts: Iterable[HostState]) -> Iterator[Metric]:
    limits = GaugeMetricFamily(
        "fleet_rate_limit_used_ratio_max", "The most used rate limit of a tool's accounts.", labels=_PAIR
    )
    orphans = GaugeMetricFamily(
        "fleet_orphan_ports", "Ports that outlived the session that opened them.", labels=["host"]
    )
    for host in hosts:
        if host.reading is None:
            continue
        used: dict[str, float] = {}
        for limit in host.reading.snapshot.rate_limits:
            tool = _tool(limit.tool)
            used[tool] = max(used.get(tool, 0.0), limit.used_percent)
        for tool, percent in sorted(used.items()):
            limits.add_metric([host.name, tool], percent / 100)
        orphans.add_metric([host.name], len(host.reading.snapshot.orphan_ports))
    yield from (limits, orphans)


_PAIR = ["host", "tool"]


def _by_pair(listed: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in listed:
        groups[row.host, _tool(row.session.tool)].append(row)
    return groups


def _tool(name: str) -> str:
    """A host may send any word for it: what is not known is one label value."""
    return name if name in TOOLS else "other"
