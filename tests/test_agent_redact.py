"""fleet_agent.redact: secrets out of free text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent.redact import REDACTED, clip, headline, redact
from secret_shapes import CORPUS, pieces, plain

HARMLESS = (
    "fix the tokenizer of the parser",
    "/home/dev/projects/fleet/src/fleet_agent/redact.py",
    "feature/sk-learn-pipeline",
    "rollout-2026-11-21T02-33-43-01a1fbf3-d4da-78f3-8f80-8b9a0611d5f6.jsonl",
    "Its last turn failed (usage_limit_exceeded).",
    "commit e3a6428df23dd5972da31de7d68c52b34acbd7a3",
    "auth: fix the login page",
    "ssh://example.org:2222/path and mail me at a@example.org",
    "Basic understanding of passwords",
)


@pytest.mark.parametrize("text", CORPUS)
def test_a_secret_shape_is_replaced(text: str) -> None:
    """No secret of the corpus survives, alone or in the middle of other words (PROMISES 13)."""
    wild = plain(text)
    for surrounded in (wild, f"first {wild} last", f"({wild})"):
        redacted = redact(surrounded)
        assert REDACTED in redacted
        assert not [piece for piece in pieces(text) if piece in redacted], redacted


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Paths, branches, ids, reasons and prose are not mangled."""
    assert redact(text) == text


@settings(deadline=None)
@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """The result holds no secret shape any more."""
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "unit", ["a-", "eyJ", "://a", "sk-", "token", "-p", "-----BEGIN A-----", "x=", '"', "a@", "\\"]
)
def test_no_text_takes_long(unit: str) -> None:
    """Hostile text cannot keep the agent busy: 16 KiB of anything is done in well under a second."""
    text = (unit * 16384)[:16384]
    begun_s = time.process_time()
    redact(text)
    assert time.process_time() - begun_s < 1.0


def test_a_headline_is_the_first_line_that_says_anything() -> None:
    """Titles are one line, folded, without secrets, and secrets go before the text is cut."""
    assert headline("\n  fix   the\tparser \nand more", 50) == "fix the parser"
    assert headline("x" * 100, 10) == "x" * 9 + "…"
    assert headline("use ghp_16C7e42F292c6912E7710c838347Ae178B4a now", 12) == "use [redact…"
    assert headline(" \n\t\n", 50) == ""
    assert clip("abc", 3) == "abc"
