"""`fleet run`."""

import enum
from typing import Annotated

import typer

from fleet.cli.options import ConfigFile, Excludes, NoDaemon, Verbose
from fleet.cli.sessions.way import Way


class Mode(enum.StrEnum):
    """How a session is run."""

    EXEC = "exec"
    APP_SERVER = "app-server"
    TMUX = "tmux"


def run(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[HOST] -- PROMPT...",
            help="The host (or hosts, as of --host), then what to do; - reads it from standard input.",
        ),
    ],
    host: Annotated[
        list[str] | None,
        typer.Option("--host", "-H", metavar="EXPR", help="Instead of HOST: start the same on all of these."),
    ] = None,
    exclude: Excludes = None,
    tool: Annotated[
        str, typer.Option(metavar="TOOL", help="codex, claude, opencode; tmux takes any.")
    ] = "codex",
    mode: Annotated[
        Mode,
        typer.Option(
            help="exec: one prompt, answered in the background; app-server: a conversation that takes more;"
            " tmux: the tool's own screen, to attach to."
        ),
    ] = Mode.EXEC,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it; else two words are found.")
    ] = None,
    cwd: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The directory there to work in; else the session's own, or your home there."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Instead of the tool's own choice.")
    ] = None,
    sandbox: Annotated[
        str | None, typer.Option(metavar="MODE", help="read-only, workspace-write, danger-full-access.")
    ] = None,
    approval: Annotated[
        str | None, typer.Option(metavar="POLICY", help="When to ask: never, on-request, as the tool says it.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on with this session of the tool, not a new one.")
    ] = None,
    fork: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on with a copy of this session, and leave it as it is.")
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="ARG", help="One more argument for the tool itself; may be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="What was started, and what failed, as JSON.")] = False,
    config: ConfigFile = None,
    no_daemon: NoDaemon = False,
    verbose: Verbose = False,
) -> None:
    """Start a session in the background on a host, and print its key. It goes on when fleet ends.

    The host needs `control = true` in hosts.toml. `fleet logs -f KEY` shows what it says, `fleet ps` lists all.
    Exit codes: 0; 2 wrong command line; 4 some hosts failed; 5 all hosts failed.
    """
    from fleet.cli.sessions.session import text_of
    from fleet.cli.sessions.starting import started
    from fleet.control.verbs import asker
    from fleet.errors import UsageError
    from fleet_agent.control.wire import Start

    if not host:
        host, words = words[:1], words[1:]
    prompt = text_of(words)
    if prompt is None and mode is not Mode.TMUX and not (resume or fork):
        raise UsageError(
            f"there is no prompt for {','.join(host)}; write it behind the host, `fleet run HOST -- fix the"
            " flaky test`, or - to read it from standard input"
        )
    request = Start(
        prompt=prompt, tool=tool, mode=mode, name=name, cwd=cwd, model=model, sandbox=sandbox,
        approval=approval, resume=resume, fork=fork, arguments=tuple(argument or ()), by=asker(),
    )  # fmt: skip
    started(host, exclude or [], Way(config, no_daemon, verbose), request, json=json)
