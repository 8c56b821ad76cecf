"""The documentation says what the code does."""

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from fleet import config, hosts
from fleet.backoff import LIMITS_S
from fleet.checks import STEPS
from fleet.errors import ErrorKind
from fleet_agent import wire
from lab.truth import LEAST_RIGHT

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("agent/*.md")])


def test_every_kind_of_host_error_is_explained() -> None:
    """docs/hosts.md has one row for each kind, and no other; then one for each step of `fleet hosts check`."""
    kinds, _, steps = (ROOT / "docs/hosts.md").read_text().partition("## Check it")
    assert re.findall(r"^\| `(\w+)` \|", kinds, re.MULTILINE) == [kind.value for kind in ErrorKind]
    assert re.findall(r"^\| `(\w+)` \|", steps, re.MULTILINE) == list(STEPS)


@pytest.mark.parametrize("kind", [k for k in ErrorKind if k is not ErrorKind.CONFIG])
def test_the_delays_are_those_of_the_code(kind: ErrorKind) -> None:
    """The last column of docs/hosts.md agrees with fleet.backoff."""
    row = re.search(rf"^\| `{kind}` \|.*\| ([^|]*) \|$", (ROOT / "docs/hosts.md").read_text(), re.MULTILINE)
    assert row is not None
    found = re.fullmatch(r"(?:(\d+)(?: (s))? to )?(\d+) min", row[1])
    assert found is not None, row[1]
    most_s = int(found[3]) * 60
    first_s = most_s if found[1] is None else int(found[1]) * (1 if found[2] else 60)
    assert LIMITS_S[kind] == (first_s, most_s)


def test_every_state_is_explained() -> None:
    """docs/states.md has one row for each detail of each state, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`)? ?\|", (ROOT / "docs/states.md").read_text(), re.MULTILINE)
    details = {(state, detail) for state, of_it in wire.DETAILS.items() for detail in of_it or ("",)}
    assert sorted(rows) == sorted(details)


def test_the_truth_table_is_published() -> None:
    """docs/states.md quotes at least 30 states with their grounds, and no answer that was wrong and sure."""
    page = (ROOT / "docs/states.md").read_text()
    found = re.search(
        r"^(\d+) readings of (\d+) states: (\d+) right .*, \d+ unsure, 0 wrong$", page, re.MULTILINE
    )
    assert found is not None
    readings, states, right = map(int, found.groups())
    assert states >= 30
    assert right >= LEAST_RIGHT * readings
    assert page.partition("<!-- cases -->")[2].count("\n|") >= 30


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """No link to a file that is not there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_hosts_of_the_readme_can_be_copied() -> None:
    """Its hosts.toml is accepted as it stands, and so is the selection that it shows."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"^( +\[hosts\.gpu01\]\n(?: +.*\n|\n)+)", text, re.MULTILINE)
    assert block is not None
    inventory = textwrap.dedent(block[1].split("Every key")[0])
    loaded = config.parse(tomllib.loads(inventory), None)
    shown = re.search(r"--host '([^']+)'", text)
    assert shown is not None
    assert [h.name for h in hosts.select([shown[1]], [], loaded.hosts, loaded.groups)] == ["gpu01"]
