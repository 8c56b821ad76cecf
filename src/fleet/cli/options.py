"""The words that options take."""

import enum


class Format(enum.StrEnum):
    """How the state is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


class FailOn(enum.StrEnum):
    """Which failures of hosts the exit code tells of."""

    NONE = "none"
    ANY = "any"
    ALL = "all"
