"""deploy/: what it ships is accepted by the programs that it is for, and agrees with the code."""

import json
import plistlib
import re
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import states
from fleet import config, paths
from fleet.api import metrics
from fleet.daemon.run import DRAIN_S
from fleet.errors import ExitCode
from fleet.service import Service
from lab import systemd
from lab.promtool import promtool

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SYSTEM_UNIT = DEPLOY / "systemd/system/fleet.service"
USER_UNIT = DEPLOY / "systemd/user/fleet.service"
PLIST = DEPLOY / "launchd/fleet-sessions.fleet.plist"
DASHBOARD = DEPLOY / "grafana/fleet.json"
RULES = DEPLOY / "prometheus/fleet.rules.yml"
RULE_TESTS = DEPLOY / "prometheus/fleet.rules.test.yml"
SCRAPE = DEPLOY / "prometheus/scrape.example.yml"
BOTH_UNITS = pytest.mark.parametrize("unit", [SYSTEM_UNIT, USER_UNIT], ids=["system", "user"])


# --- systemd ------------------------------------------------------------------------------------------------


@pytest.mark.systemd
def test_the_system_unit_is_hardened() -> None:
    """PROMISES 29: `systemd-analyze security` finds an exposure of at most 2.0 of 10."""
    done = systemd.analyze("security", "--offline=true", "--threshold=20", SYSTEM_UNIT)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@pytest.mark.systemd
@BOTH_UNITS
def test_systemd_understands_the_whole_unit(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, not even a warning about a key that it does not know."""
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^(Exec\w+)=\S+", rf"\1={sys.executable}", unit.read_text(), flags=re.MULTILINE))
    manager = ["--user"] if unit is USER_UNIT else []
    done = systemd.analyze(*manager, "verify", copy, XDG_RUNTIME_DIR=str(tmp_path), HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@BOTH_UNITS
def test_the_unit_agrees_with_the_daemon(unit: Path) -> None:
    """What cannot mend itself is not restarted; there is time to drain, and a file for each host."""
    settings = systemd.settings(unit)
    assert settings["Restart"] == ["on-failure"]
    never = {int(code) for code in settings["RestartPreventExitStatus"][0].split()}
    assert never == {ExitCode.USAGE, ExitCode.DAEMON}
    assert float(settings["TimeoutStopSec"][0]) > DRAIN_S
    assert int(settings["LimitNOFILE"][0]) > config.MAX_HOSTS
    start, reload = (shlex.split(settings[key][0]) for key in ("ExecStart", "ExecReload"))
    assert (start[1:], reload) == (["daemon"], [*start, "reload"])


def test_the_system_units_directories_are_those_that_the_daemon_uses() -> None:
    """Its socket and token are where docs/deploy.md says; its user's home is the state directory."""
    environ = {"RUNTIME_DIRECTORY": "/run/fleet", "STATE_DIRECTORY": "/var/lib/fleet"}
    settings = systemd.settings(SYSTEM_UNIT)
    assert settings["RuntimeDirectory"] == settings["StateDirectory"] == settings["User"] == ["fleet"]
    text = (ROOT / "docs/deploy.md").read_text()
    assert str(paths.socket_path(environ)) in text
    assert str(paths.token_path(environ)) in text
    users = SYSTEM_UNIT.with_name("fleet.sysusers").read_text()
    assert re.findall(r'^u (\w+) - ".*" (\S+)$', users, re.MULTILINE) == [("fleet", environ["STATE_DIRECTORY"])]


# --- launchd ------------------------------------------------------------------------------------------------


def test_the_launch_agent_is_one() -> None:
    """A well-formed property list, of keys of launchd.plist(5) with their types, and no path that launchd would
    have to expand."""
    types = {
        "Label": str,
        "ProgramArguments": list,
        "RunAtLoad": bool,
        "KeepAlive": dict,
        "ThrottleInterval": int,
        "ExitTimeOut": int,
        "Umask": int,
        "SoftResourceLimits": dict,
        "HardResourceLimits": dict,
        "StandardOutPath": str,
        "StandardErrorPath": str,
    }
    agent = plistlib.loads(PLIST.read_bytes())
    assert {key: type(value) for key, value in agent.items()} == types
    assert agent["Label"] == PLIST.stem
    assert agent["ProgramArguments"] == ["/Users/YOU/.local/bin/fleet", "daemon"]
    for path in (agent["StandardOutPath"], agent["StandardErrorPath"]):
        assert path.startswith("/Users/YOU/Library/Logs/")


def test_the_launch_agent_agrees_with_the_daemon() -> None:
    """Restarted when it fails, at most twice a minute; there is time to drain; its log is private."""
    agent = plistlib.loads(PLIST.read_bytes())
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ThrottleInterval"] == 30
    assert agent["ExitTimeOut"] > DRAIN_S
    assert agent["Umask"] == 0o077
    assert agent["SoftResourceLimits"]["NumberOfFiles"] > config.MAX_HOSTS


# --- the container ------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, in order: word, arguments with single spaces between them."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = (" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines())
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def arguments(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def test_the_container_runs_the_daemon_as_nobody_in_particular() -> None:
    """Its user has a number (which Kubernetes can check) and is not root; nothing is built after that."""
    words = [word for word, _ in instructions()]
    assert set(words) <= {
        "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"
    }  # fmt: skip
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", arguments("USER")[-1])
    assert not {"RUN", "COPY"} & set(words[len(words) - words[::-1].index("USER") :])
    assert [json.loads(arguments(word)[-1]) for word in ("ENTRYPOINT", "CMD")] == [["fleet"], ["daemon"]]
    assert json.loads(arguments("HEALTHCHECK")[0].split("CMD ")[1]) == ["fleet", "daemon", "status"]


def test_the_container_is_made_of_pinned_parts() -> None:
    """Images have full names and tags; Python packages are installed with their hashes, or from this checkout;
    nothing is fetched by other means."""
    for image in arguments("FROM"):
        assert re.match(r"docker\.io/library/[a-z]+:(?!latest)[\w.-]+( AS \w+)?$", image), image
    for command in arguments("RUN"):
        assert not re.search(r"\b(curl|wget|git)\b", command)
        if "pip install" in command:
            assert re.search(
                "--no-deps (--only-binary :all: --require-hashes -r|--no-build-isolation) /src/", command
            )
        assert ("apt-get install" in command) == ("rm -rf /var/lib/apt/lists/*" in command)
    for source in (s for copy in arguments("COPY") if "--from" not in copy for s in copy.split()[:-1]):
        assert (ROOT / source).exists(), source


# --- Prometheus ---------------------------------------------------------------------------------------------


def exported() -> set[str]:
    """The names of the metrics that the daemon has, of a fleet that has everything."""
    streams = SimpleNamespace(fleet=states.everything())
    service = SimpleNamespace(streams=streams, started_at=states.NOW_AT, lag_s=lambda _share: 0.0)
    text = metrics.exposition(cast(Service, service), states.NOW_MONO_S).decode()
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def named_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(re.findall(r"\b((?:fleet|process)_\w+)", re.sub(r'"[^"]*"', "", expression)))


def test_rules_name_only_metrics_that_there_are() -> None:
    """A metric that is renamed takes its alert along."""
    names = {name for line in re.findall("expr: (.*)", RULES.read_text()) for name in named_in(line)}
    assert names
    assert names <= exported()


def test_every_alert_is_proved_to_fire_and_not_to() -> None:
    """fleet.rules.test.yml has, for each alert, a moment with it and one without."""
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    cases = re.findall(r"- alertname: (\w+)\n +eval_time: \w+\n( +exp_alerts:)?", RULE_TESTS.read_text())
    assert {name for name, fires in cases if fires} == set(alerts)
    assert {name for name, fires in cases if not fires} == set(alerts)


@pytest.mark.promtool
def test_alerts_fire_when_they_should() -> None:
    """The rules are valid, and their own tests pass."""
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)


@pytest.mark.promtool
def test_the_scrape_configuration_is_one(tmp_path: Path) -> None:
    """Prometheus takes it, with the rules and the token beside it as it says."""
    (tmp_path / "rules").mkdir()
    shutil.copy(RULES, tmp_path / "rules")
    (tmp_path / "fleet.token").write_text("token\n")
    shutil.copy(SCRAPE, tmp_path)
    assert "1 rule files found" in promtool("check", "config", tmp_path / SCRAPE.name)


# --- Grafana ------------------------------------------------------------------------------------------------


def dashboard() -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(DASHBOARD.read_text()))


def expressions() -> list[str]:
    """What the panels ask."""
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def test_the_dashboard_names_only_metrics_that_there_are() -> None:
    """No panel is empty because a metric was renamed, and no metric about sessions is without a panel."""
    names = {name for expression in expressions() for name in named_in(expression)}
    assert names <= exported()
    unseen = {name for name in exported() - names if name.startswith("fleet_")}
    assert unseen == {"fleet_hosts", "fleet_daemon_start_time_seconds"}


def test_the_dashboard_works_with_any_prometheus() -> None:
    """Panels and variables ask the data source that is chosen at its top; hosts and tools can be chosen."""
    board = dashboard()
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["datasource", "host", "tool"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    asked = [*board["panels"], *(t for p in board["panels"] for t in p["targets"])]
    asked += [variables["host"], variables["tool"]]
    assert {each["datasource"]["uid"] for each in asked} == {"${datasource}"}


def test_the_dashboard_is_laid_out() -> None:
    """Panels have numbers of their own, stay within Grafana's 24 columns and do not overlap."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.promtool
def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Every expression parses once Grafana has put its variables in."""
    asked = [re.sub(r"\$(host|tool)", ".*", e.replace("$__rate_interval", "1m")) for e in expressions()]
    assert not any("$" in expression for expression in asked)
    rules = [{"record": f"panel:{i}", "expr": expression} for i, expression in enumerate(asked)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    assert f"{len(asked)} rules found" in promtool("check", "rules", file)
