"""Whether Codex may run a handler: what the person decided, as config.toml keeps it. Pure.

Codex writes `[hooks.state."<hooks.json>:<event>:<group>:<handler>"]` with `trusted_hash` once a handler was
reviewed, and `enabled = false` when it was switched off. The hash is SHA-256 over the handler as canonical
JSON; tests/e2e/test_codex_hooks.py compares it with Codex's own.
"""

import hashlib
import json
import re
from typing import Any

from fleet_agent.tools.codex.hooks.entries import Entry

_DEFAULT_TIMEOUT_S = 600

TRUSTED, UNTRUSTED, CHANGED, OFF = "trusted", "not trusted yet", "changed since it was trusted", "switched off"


def decision(entry: Entry, path: str, config: dict[str, Any]) -> str:
    """What was decided of an entry of the hooks.json at `path`, which begins with CODEX_HOME's real path."""
    if _table(config, "features").get("hooks") is False:
        return OFF
    state = _table(_table(_table(config, "hooks"), "state"), key(entry, path))
    if state.get("trusted_hash") is None:
        return UNTRUSTED
    if state["trusted_hash"] != fingerprint(entry):
        return CHANGED
    return OFF if state.get("enabled") is False else TRUSTED


def key(entry: Entry, path: str) -> str:
    """The name under which Codex keeps what was decided of an entry."""
    return f"{path}:{_word(entry.event)}:{entry.group}:{entry.handler}"


def fingerprint(entry: Entry) -> str:
    """What Codex compares to see that an entry is still the one that was trusted."""
    handler = {"async": False, "timeout": _DEFAULT_TIMEOUT_S} | entry.definition
    identity: dict[str, Any] = {"event_name": _word(entry.event), "hooks": [handler]}
    if entry.matcher is not None:
        identity["matcher"] = entry.matcher
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _word(event: str) -> str:
    """PreToolUse -> pre_tool_use."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event).lower()


def _table(table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name)
    return found if isinstance(found, dict) else {}
