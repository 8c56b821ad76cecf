"""Secrets by their shapes, as they stand in command lines, prompts, paths and error output. All are made up."""

# What is secret stands between « and »; none of it may be left.
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


def plain(text: str) -> str:
    """A text of the corpus as it stands in the wild."""
    return text.replace("«", "").replace("»", "")


def pieces(text: str, least_chars: int = 4) -> list[str]:
    """The words of what is secret in it, and the parts of paths; short ones may be in any text."""
    secrets = [part.split("»")[0] for part in text.split("«")[1:]]
    return [piece for s in secrets for piece in s.replace("/", " ").split() if len(piece) >= least_chars]


def leaked(text: str) -> list[str]:
    """What of the whole corpus is in a text."""
    return [piece for entry in CORPUS for piece in pieces(entry, least_chars=7) if piece in text]
