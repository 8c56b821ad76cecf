"""fleet_agent.redact: secrets out of free text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_agent.redact import REDACTED, clip, headline, redact

# What is secret stands between « and »; none of it may be left. All of them are made up.
CORPUS = (
    "use «sk-abcdefghijklmnop1234567890ABCDEF» please",
    "OPENAI_API_KEY=«sk-proj-abc_DEF-1234567890abcdefghij»",
    "key «sk-ant-api03-AbCdEf1234567890-xyz_ABC»",
    "stripe «sk_live_4eC39HqLyjWDarjtT1zdp7dc»",
    "stripe «rk_test_4eC39HqLyjWDarjtT1zdp7dc»",
    "«ghp_16C7e42F292c6912E7710c838347Ae178B4a»",
    "«gho_16C7e42F292c6912E7710c838347Ae178B4a»",
    "«github_pat_11ABCDEFG0abcdefghijkl_MNOPQRSTUVWXYZ0123456789»",
    "gitlab «glpat-AbCdEf1234567890abcd»",
    "slack «xoxb-123456789012-1234567890123-AbCdEfGhIjKl»",
    "slack «xapp-1-A012345-123456-abcdef»",
    "aws «AKIAIOSFODNN7EXAMPLE»",
    "AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»",
    "google «AIzaSyA1234567890abcdefghijklmnopqrstuv»",
    "oauth «ya29.a0AfH6SMBx1234567890abcdef»",
    "hf «hf_abcdefghijklmnopqrstuvwxyz123456»",
    "npm «npm_abcdefghijklmnopqrstuvwxyz0123456789»",
    "pypi «pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw»",
    "«SG.abcdefghijklmnop.qrstuvwxyz0123456789»",
    "groq «gsk_abcdefghijklmnopqrstuvwxyz0123456789»",
    "jwt «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N»",
    "telegram «123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw»",
    "vault «hvs.CAESIAbCdEf1234567890abcdef»",
    "Authorization: Bearer «abc.def-ghi_jkl»",
    "curl -H 'authorization: «Basic dXNlcjpwYXNzd29yZA==»'",
    "bearer «0123456789abcdef»",
    "Cookie: «session=abc; other=def»",
    "x-api-key: «0123456789»",
    "clone https://«user:hunter2»@example.org/x.git",
    "push to https://«tokenvalue123»@example.org/x.git",
    "postgres://«admin:p/w:d»@db.example.org:5432/x",
    "mysql -u root -p «hunter2» db",
    "mysql -u root -p«hunter2» db",
    "login --password «hunter2»",
    "login --password=«hunter2»",
    "password: «hunter2»",
    "db_password = «'hunter two'»",
    '{"client_secret": "«hunter2»"}',
    "curl -u «me:hunter2» https://example.org",
    "fleet --api-key «hunter2hunter2»",
    "MY_TOKEN=«deadbeefcafe»",
    "private_key=«MIIEvQIBADANBg»",
    "https://hooks.slack.com/services/«T000/B000/XXXXXXXX»",
    "-----BEGIN EC PRIVATE KEY-----\n«b3BlbnNzaC1rZXktdjEAAAAA\nZQAAAAAAAB»\n-----END EC PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\n«MIIEpAIBAAKCAQEA» and then it was cut",
)  # fmt: skip
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
    plain = text.replace("«", "").replace("»", "")
    secrets = [part.split("»")[0] for part in text.split("«")[1:]]
    for surrounded in (plain, f"first {plain} last", f"({plain})"):
        redacted = redact(surrounded)
        assert REDACTED in redacted
        for secret in secrets:
            for piece in secret.split():
                assert piece not in redacted or len(piece) < 4, redacted


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
