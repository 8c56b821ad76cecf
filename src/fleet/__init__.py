"""fleet: every coding-agent session on every machine you can reach over SSH, in one view."""

__version__ = "0.1.0"
