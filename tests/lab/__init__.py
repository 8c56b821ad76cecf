"""The lab: the real parts that the tests run against, on loopback and in temporary homes.

`sshfleet`: any number of real sshd hosts, healthy or broken. `mock_responses`: a model API, the one thing
that cannot be had offline. `codex` with `tmux`, `app_server`: the real Codex CLI, driven to a wanted state.
`stage`, `walks`, `watch`, `truth`: states that are brought about while fleet watches, and how right it is.
`parts`: which of these this machine has. `plugin`: what pytest must know of them. `procs`: finding and ending
processes safely.
"""

MARK = "FLEET_LAB"  # environment variable that every process of a test run carries; its value names the run


class LabError(RuntimeError):
    """The lab cannot be set up on this machine, or was asked something that it cannot do."""
