"""The lab: the real parts that the tests run against, on loopback and in temporary homes.

`sshfleet`: any number of real sshd hosts, healthy or broken. `mock_responses`, `mock_anthropic`: model APIs,
the one thing that cannot be had offline; `model_api`: what they share. `codex` and `claude` with `tmux`,
`app_server`: the real tools, each in a `home` of its own, driven to a wanted state. `control`, `controlled`: an
agent, and hosts, that act. `stage`, `walks`, `watch`, `truth`: states that are brought about while fleet
watches, and how right it is. `plugin`: what pytest must know of which of these this machine has. `procs`:
finding and ending processes safely.
"""

MARK = "FLEET_LAB"  # environment variable that every process of a test run carries; its value names the run


class LabError(RuntimeError):
    """The lab cannot be set up on this machine, or was asked something that it cannot do."""
