"""fleet_agent.tools.codex.hooks.entries and trust: the text of hooks.json."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_agent.tools.codex.hooks import entries, trust

LINE = entries.command("/usr/bin/python3", f"/opt/my agent/{entries.RECORDER}", "/home/me/.local/state/fleet")
OLD = entries.command("/old/python3", f"/old/{entries.RECORDER}", "/old/state")
THEIRS = {"type": "command", "command": "notify-send Codex", "timeout": 3, "statusMessage": "…"}
MINE = {"type": "command", "command": LINE, "timeout": entries.TIMEOUT_S}


def group(*handlers: Any, **more: Any) -> dict[str, Any]:
    return {**more, "hooks": list(handlers)}


def hooks(**events: list[Any]) -> dict[str, Any]:
    return {"hooks": events}


def test_the_entries_come_last_and_are_found_again() -> None:
    """Others keep their places, on which Codex's trust in them depends."""
    theirs = group(THEIRS, matcher="^Bash$")
    document = entries.with_ours(hooks(PermissionRequest=[theirs], Stop=[group(THEIRS)]), LINE)
    assert document["hooks"]["PermissionRequest"] == [theirs, group(MINE)]
    assert document["hooks"]["Stop"] == [group(THEIRS)]
    found = list(entries.ours(document))
    assert [(e.event, e.group, e.handler, e.matcher) for e in found] == [
        ("PermissionRequest", 1, 0, None),
        ("PreToolUse", 0, 0, "^request_user_input$"),
    ]
    assert {e.directory for e in found} == {"/home/me/.local/state/fleet"}


def test_the_entries_of_an_older_agent_are_replaced_in_their_place() -> None:
    """An agent that moved leaves no second entry behind."""
    document = hooks(PermissionRequest=[group({**MINE, "command": OLD}), group(THEIRS)])
    assert entries.with_ours(document, LINE)["hooks"]["PermissionRequest"] == [group(MINE), group(THEIRS)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([group(MINE)], None),
        ([group(THEIRS), group(MINE)], [group(THEIRS)]),
        ([group(MINE), group(THEIRS)], [group(), group(THEIRS)]),
        ([group(MINE, THEIRS, matcher="x")], [group(THEIRS, matcher="x")]),
        ([group(), group(MINE)], [group()]),
        ([{"odd": 1}, 7, group(MINE)], [{"odd": 1}, 7]),
    ],
)
def test_only_fleets_own_goes(before: list[Any], after: list[Any] | None) -> None:
    """What stands beside fleet's entries stays; where a group follows, an empty one keeps its place."""
    expected = {} if after is None else {"PermissionRequest": after}
    assert entries.without_ours(hooks(PermissionRequest=before)) == {"hooks": expected}


_HANDLER = st.fixed_dictionaries({"type": st.just("command"), "command": st.text(max_size=20)})
_GROUPS = st.lists(st.fixed_dictionaries({"hooks": st.lists(_HANDLER, max_size=2)}), min_size=1, max_size=3)
_DOCUMENT = st.fixed_dictionaries(
    {"hooks": st.dictionaries(st.sampled_from(["PreToolUse", "PermissionRequest", "Stop"]), _GROUPS)},
    optional={"description": st.text(max_size=20)},
)


@given(_DOCUMENT)
def test_install_and_uninstall_leave_what_was_there(document: dict[str, Any]) -> None:
    """Twice is once, and afterwards everything is as before; also as text."""
    installed = entries.with_ours(document, LINE)
    assert entries.with_ours(installed, LINE) == installed
    assert entries.without_ours(installed) == document
    text = entries.render(document, "")
    back = entries.without_ours(
        entries.parse(entries.render(entries.with_ours(entries.parse(text), LINE), text))
    )
    assert entries.render(back, text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{\n\t"hooks": {},\n\t"description": "é"\n}\n',
        '{\n    "hooks": {}\n}',
        '{"hooks": {}}',
        '{"description": "\\u00e9 \\ud800"}\n',
    ],
)
def test_the_way_it_was_written_stays(text: str) -> None:
    """Indentation, escapes and the last newline."""
    assert entries.render(entries.parse(text), text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is not a JSON object"),
        ("[" * 100_000, "it is nested too deep"),
        ('{"hooks": []}', '"hooks" is not an object of lists'),
        ('{"hooks": {"Stop": {}}}', '"hooks" is not an object of lists'),
        ('{"hooks": {"Stop": [], "Stop": []}}', "the same key twice"),
    ],
)
def test_what_is_no_hooks_file_is_refused(text: str, why: str) -> None:
    """With the reason. A key that is there twice would be lost by writing the file again."""
    with pytest.raises(ValueError, match=why):
        entries.parse(text)


@pytest.mark.parametrize(
    "document",
    [{"hooks": 1}, {"hooks": {"Stop": 1}}, {"hooks": {"Stop": [1, {"hooks": [1, {"command": "'"}]}]}}],
)
def test_any_document_can_be_searched(document: dict[str, Any]) -> None:
    """A reader meets hooks files of every form."""
    assert not list(entries.ours(document))


@pytest.mark.parametrize(
    "command", [f"cat {entries.RECORDER}", f"python -ISB x '{entries.RECORDER}", entries.RECORDER]
)
def test_what_only_names_the_recorder_is_not_fleets(command: str) -> None:
    """An entry is fleet's by the whole form of its command."""
    assert not list(entries.ours(hooks(Stop=[group({"type": "command", "command": command})])))


def entry(**fields: Any) -> entries.Entry:
    (found,) = entries.ours(hooks(PermissionRequest=[group({**MINE, **fields})]))
    return found


@pytest.mark.parametrize(
    ("state", "features", "expected"),
    [
        ({}, {}, trust.UNTRUSTED),
        ({"trusted_hash": trust.fingerprint(entry())}, {}, trust.TRUSTED),
        ({"trusted_hash": trust.fingerprint(entry()), "enabled": False}, {}, trust.OFF),
        ({"trusted_hash": trust.fingerprint(entry(timeout=600))}, {}, trust.CHANGED),
        ({"trusted_hash": trust.fingerprint(entry())}, {"hooks": False}, trust.OFF),
        ({"enabled": False}, {}, trust.UNTRUSTED),
    ],
)
def test_what_the_person_decided(state: dict[str, Any], features: dict[str, Any], expected: str) -> None:
    """As config.toml keeps it: trusted, changed since, switched off, or nothing yet."""
    config = {"hooks": {"state": {"/h/hooks.json:permission_request:0:0": state}}, "features": features}
    assert trust.decision(entry(), "/h/hooks.json", config) == expected


@pytest.mark.parametrize(
    "config", [{}, {"hooks": 1}, {"hooks": {"state": {"/h/hooks.json:permission_request:0:0": 1}}}]
)
def test_a_config_of_any_form_can_be_read(config: dict[str, Any]) -> None:
    """Nothing is trusted by it."""
    assert trust.decision(entry(), "/h/hooks.json", config) == trust.UNTRUSTED


def test_the_hash_of_a_known_entry() -> None:
    """As Codex 0.169 computes it for {"type": "command", "command": "true"} without a matcher."""
    plain = entries.Entry("PermissionRequest", 0, 0, None, {"type": "command", "command": "true"}, "", "", "")
    assert trust.fingerprint(plain) == "sha256:84bfab601cd796832edd357e1b1cff50587dfa272fa1464175bc664008d5de00"


def test_the_line_is_one_for_any_path() -> None:
    """Blanks and quotes in a path stay in it."""
    line = entries.command("/a b/python", f"/it's/{entries.RECORDER}", "/c;d")
    (found,) = entries.ours(hooks(Stop=[group({"type": "command", "command": json.loads(json.dumps(line))})]))
    assert (found.python, found.recorder, found.directory) == (
        "/a b/python",
        f"/it's/{entries.RECORDER}",
        "/c;d",
    )
