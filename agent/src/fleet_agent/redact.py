"""Secret shapes out of free text, before it leaves the host. Pure.

This is the second line: by default no prompt, argument or output leaves at all (`--privacy meta`). What does
leave (titles, paths, branch names, problem messages) goes through `redact`. In doubt it takes out too much.
"""

import re

REDACTED = "[redacted]"

# Tokens which say by their prefix what they are. Sources: the providers' own documentation and the public rule
# sets of GitHub secret scanning and gitleaks.
_TOKEN_SHAPES = (
    r"[sprk]k-(?=[\w-]{0,80}\d)[\w-]{16,}",  # OpenAI, Anthropic, DeepSeek ...
    r"[sprk]k_(?:live|test)_\w{8,}",  # Stripe
    r"xai-\w{20,}|gsk_\w{20,}|hf_\w{20,}|r8_\w{20,}",  # xAI, Groq, Hugging Face, Replicate
    r"gh[pousr]_\w{16,}|github_pat_\w{16,}",  # GitHub
    r"gl(?:pat|ptt|dt|rt|soat|cbt|ft)-[\w.-]{16,}",  # GitLab
    r"xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}",  # Slack
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}",  # AWS key ids
    r"AIza[\w-]{20,}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{16,}",  # Google
    r"npm_\w{20,}|pypi-[\w-]{20,}|dckr_pat_[\w-]{16,}|rubygems_\w{20,}",  # package registries
    r"SG\.[\w-]{8,}\.[\w-]{8,}|key-[0-9a-f]{32}",  # SendGrid, Mailgun
    r"do[opr]_v1_\w{16,}|dapi[0-9a-f]{32}|hv[sbr]\.[\w-]{16,}|glsa_\w{16,}|lin_api_\w{16,}|tskey-[\w-]{16,}",
    r"shp(?:at|ca|pa|ss)_\w{16,}|sntry[su]_[\w=]{16,}|AGE-SECRET-KEY-\w{16,}|figd_[\w-]{16,}|ntn_\w{16,}",
    r"eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)*",  # JWT, JWE
    r"\d{8,10}:[\w-]{32,}",  # Telegram bots
)
_KEY_NAME = (
    r"\w{0,40}(?:passw(?:or)?d|passphrase|passcode|secret|token|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|credentials?|sessionid|client[_-]?key)[\w-]{0,40}"
)
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"',;&]+)"""

_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"-----BEGIN [A-Z0-9 ]{1,40}-----[\s\S]*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", REDACTED),
        (r"(?<![A-Za-z0-9])(?:" + "|".join(_TOKEN_SHAPES) + ")", REDACTED),
        (
            r"(?i)(https?://hooks\.slack\.com/services/|https?://discord(?:app)?\.com/api/webhooks/)\S+",
            rf"\1{REDACTED}",
        ),
        (r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)(?:[^\s/?#]+|[^\s:/@]+:[^\s@]+)@", rf"\1{REDACTED}@"),
        (
            r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]{0,20}key)(\\?[\"']?\s*[:=]\s*)[^\r\n]+",
            rf"\1\2{REDACTED}",
        ),
        (r"(?i)\b(bearer|digest|negotiate)(\s+)[\w.~+/=:-]{6,}", rf"\1\2{REDACTED}"),
        (r"(?i)\b(basic|token)(\s+)(?=[\w.~+/=-]*[\d=])[\w.~+/=-]{8,}", rf"\1\2{REDACTED}"),
        (rf"(?i)(?<!\w)({_KEY_NAME}\\?[\"']?\s*(?::|=>?)\s*\\?){_VALUE}", rf"\1{REDACTED}"),
        (rf"(?i)(?<!\S)(--?{_KEY_NAME}\s+){_VALUE}", rf"\1{REDACTED}"),
        (rf"(?<!\S)(-p\s*=?|--pass\s*=?\s*|-P\s+){_VALUE}", rf"\1{REDACTED}"),
        (r"(?<!\S)(-u\s*|--user[= ]\s*)[^\s:]+:\S+", rf"\1{REDACTED}"),
    )
)


def redact(text: str) -> str:
    """`text` with every secret shape replaced by "[redacted]".

    >>> redact("curl -H 'Authorization: Bearer abcdef123' https://me:pw@example.org/")
    "curl -H 'Authorization: [redacted]"
    """
    for rule, replacement in _RULES:
        text = rule.sub(replacement, text)
    return text


def clip(text: str, max_chars: int) -> str:
    """`text`, cut to `max_chars` with an ellipsis."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def headline(text: str, max_chars: int) -> str:
    """The first line of `text` that says anything, without secrets, cut to `max_chars`.

    Secrets go first: a key that is cut in the middle would no longer look like one.
    """
    line = next((line for line in text.splitlines() if line.strip()), "")
    return clip(redact(" ".join(line.split())), max_chars)
