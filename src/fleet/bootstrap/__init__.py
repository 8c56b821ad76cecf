"""What puts the agent on a host that lacks it. `fleet.transport.shipping` sends it; nothing here connects.

    probe.py     what a host says of its Pythons -> the `Target` that a bundle is made for   (pure)
    wheels.py    the wheels of the agent's requirements for a target: cached, else by pip, always by hash
    bundle.py    agent + wheels -> one archive, and the name that tells its content
    unpack.py    the program that a host runs to unpack one
    outcome.py   what that program says -> why it failed                                      (pure)

requirements.txt pins what is shipped, with the hashes of every wheel of those releases.
"""

from fleet.errors import ErrorKind, HostFailure, Phase


def not_installed(message: str, hint: str) -> HostFailure:
    """Why the agent could not be put on a host that lacks it."""
    return HostFailure(ErrorKind.AGENT_MISSING, Phase.INSTALL, message, hint)
