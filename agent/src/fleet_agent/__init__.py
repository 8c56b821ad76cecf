"""The part of fleet that runs on each machine: it reads sessions and prints snapshots. It only reads."""

__version__ = "0.1.0"
