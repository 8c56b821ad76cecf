"""What the verbs do that act on one session: ask its host, and say what came of it."""

from collections.abc import Callable

from fleet.cli.sessions.session import Place, on_session
from fleet.cli.sessions.way import Way
from fleet.cli.terminal import write
from fleet.control import selectors, verbs
from fleet.control.selectors import Candidate
from fleet.control.verbs import Action
from fleet_agent.control.wire import Target

Make = Callable[[Target, str], Action]


def act(
    selector: str, way: Way, make: Make, done: str,
    check: Callable[[Candidate], object] = selectors.actable,
) -> None:  # fmt: skip
    """Ask for the action that `make` makes of target and asker; print what came of it. Raises `FleetError`."""

    async def work(place: Place) -> str:
        answered = await verbs.act(place.reach, place.spec, make(place.session.target, verbs.asker()))
        return f"{place.session.key}: {answered.message or done}\n"

    write(on_session(selector, way, work, check))
