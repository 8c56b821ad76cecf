"""fleet_agent.control.screens: what the screens of the real terminal UIs are taken for."""

from pathlib import Path

import pytest

from fleet_agent.control import screens
from screens import SCREENS, recorded

CODEX = ("codex-0.145.0", "codex-0.169.0")
CLAUDE = "claude-2.1.329"
OPENCODE = "opencode-1.18.33"


def seen(name: str, change: tuple[str, str] = ("", "")) -> screens.Screen:
    """The screen of this name, with something in it changed."""
    screen = recorded(name)
    captured = screen.captured.replace(*change) if change[0] else screen.captured
    return screens.look(name.partition("-")[0], captured, (screen.row, screen.shows))


def approval(name: str, change: tuple[str, str] = ("", "")) -> screens.Approval:
    found = seen(name, change).approval
    assert found is not None
    return found


@pytest.mark.parametrize("release", [*CODEX, CLAUDE, OPENCODE])
def test_the_input_box(release: str) -> None:
    """What stands in the box is told from what the tool shows in an empty one; a running turn is seen."""
    assert seen(f"{release}-idle") == screens.Screen(draft="")
    assert seen(f"{release}-draft") == screens.Screen(draft="half a draft")
    assert seen(f"{release}-working") == screens.Screen(draft="", working=True)
    assert seen(f"{release}-working-draft") == screens.Screen(draft="typed while working", working=True)
    assert seen(f"{release}-interrupted") == screens.Screen(draft="")


def test_the_box_of_opencode() -> None:
    """Its start has another box than a session; a sidebar is no draft; where a shell command would be typed it
    takes no text of ours; an Escape that wants another one is seen."""
    assert seen(f"{OPENCODE}-home") == screens.Screen(draft="")
    assert seen(f"{OPENCODE}-home", ("Ask anything\u2026", "Do anything")).draft not in ("", None)
    assert seen(f"{OPENCODE}-draft-wide").draft == "half a draft"
    assert (
        seen(f"{OPENCODE}-draft-wide", ("half a draft", "\u6f22\u5b57 draft  ")).draft == "\u6f22\u5b57 draft"
    )
    assert "Shell" in recorded(f"{OPENCODE}-shell").captured
    assert seen(f"{OPENCODE}-shell") == screens.Screen()
    assert seen(f"{OPENCODE}-working-again").half_interrupted


def test_one_character_below_the_cursor_of_claude() -> None:
    """The cursor is drawn over a character, and a text of one is a text all the same."""
    assert seen(f"{CLAUDE}-draft", ("half a draft\x1b[7m", "\x1b[7my")).draft == "y"


def test_a_claude_without_colours() -> None:
    """With NO_COLOR or CI in its environment nothing is faint: an empty box is known by its words."""
    assert seen(f"{CLAUDE}-queued-no-color") == screens.Screen(draft="", working=True)
    queued = "ress up to edit queued messages"
    assert seen(f"{CLAUDE}-queued-no-color", (queued, f"{queued} soon")).draft != ""
    for example in ('ry "fix the lint errors"', 'ry "a'):
        assert (
            seen(f"{CLAUDE}-queued-no-color", (f"P\x1b[0m\x1b[39m\x1b[49m{queued}", f"T\x1b[0m{example}")).draft
            == ""
        ) == (example.endswith('"'))


def test_opencode_approvals() -> None:
    """A command and a patch, whatever the width: Enter, if its first answer is the one that is marked."""
    for name in ("cmd", "wide"):
        command = approval(f"{OPENCODE}-approval-{name}")
        assert (command.kind, command.command) == ("command", "touch /tmp/fleet-recon-o")
        assert dict(command.keys) == {"accept": "Enter", "cancel": "Escape"}
    assert approval(f"{OPENCODE}-approval-cmd").id == approval(f"{OPENCODE}-approval-wide").id
    patch = approval(f"{OPENCODE}-approval-edit")
    assert (patch.kind, patch.question, patch.key("accept")) == ("patch", "\u2192 Edit x.txt", "Enter")
    assert "+ hello" in patch.body
    assert (
        "\u2580" not in approval(f"{OPENCODE}-approval-edit-long").body
    )  # its scroll bar, which comes and goes
    assert dict(approval(f"{OPENCODE}-approval-always").keys) == {"cancel": "Escape"}


@pytest.mark.parametrize("name", ["approval-long", "approval-edit-long"])
def test_what_opencode_does_not_show_whole_is_not_accepted(name: str) -> None:
    """A prompt that may have more below can be denied, and no more."""
    asked = approval(f"{OPENCODE}-{name}")
    assert (asked.is_cut, dict(asked.keys)) == (True, {"cancel": "Escape"})


def test_why_opencode_is_refused() -> None:
    """A person's to answer: what a subagent is to do instead."""
    assert seen(f"{OPENCODE}-reject-why").blocked == "OpenCode asks what is to be done instead"


@pytest.mark.parametrize("release", CODEX)
def test_codex_approvals(release: str) -> None:
    """A command and a patch: what is asked, and the keys for the decisions that the prompt offers."""
    command = approval(f"{release}-approval-cmd")
    assert command.command == "touch /tmp/fleet-recon-x"
    assert dict(command.keys) == {"accept": "y", "cancel": "Escape"}
    patch = approval(f"{release}-approval-patch")
    assert (patch.kind, patch.command, patch.key("accept_for_session")) == ("patch", None, "a")
    assert "recon.txt" in patch.body
    assert "hello from mock" in (patch.event().reason or "")


def test_claude_approvals() -> None:
    """A command and files: accepted by the number of Yes, declined by that of No, wherever they stand."""
    command = approval(f"{CLAUDE}-approval-cmd")
    assert (command.kind, command.command) == ("command", "touch /tmp/fleet-recon-c")
    assert dict(command.keys) == {"accept": "1", "cancel": "4"}
    write = approval(f"{CLAUDE}-approval-write")
    assert (write.kind, write.question, write.key("cancel")) == ("tool", "Do you want to create x.txt?", "3")
    assert "+bye" in approval(f"{CLAUDE}-approval-edit").body
    assert approval(f"{CLAUDE}-approval-net").command == "curl http://x.invalid/"


def test_a_rule_for_ever_is_no_approval_for_the_session() -> None:
    """`don't ask again for commands that start with` and `always allow` are nothing that `Decide` means."""
    assert approval("codex-0.169.0-approval-cmd").key("accept_for_session") is None
    assert approval(f"{CLAUDE}-approval-net").key("accept_for_session") is None
    assert approval(f"{CLAUDE}-approval-write").key("accept_for_session") is None


@pytest.mark.parametrize("release", CODEX)
def test_dialogs_of_the_start(release: str) -> None:
    """Trust and login are named, and are no input boxes."""
    asks = screens.Screen(blocked="Codex asks whether this folder is to be trusted")
    assert seen(f"{release}-trust") == asks
    assert seen(f"{release}-login") == screens.Screen(blocked="Codex is not logged in")


def test_a_box_before_its_time() -> None:
    """While Codex loads it shows an input box, over which a question of trust may come: it is none yet."""
    assert "Ask Codex to do anything" in recorded("codex-0.169.0-loading").captured
    assert seen("codex-0.169.0-loading") == screens.Screen()


@pytest.mark.parametrize(
    "name",
    [
        f"{CLAUDE}-question",
        f"{CLAUDE}-dialog-model",
        "codex-0.145.0-dialog-model",
        f"{OPENCODE}-question",
        f"{OPENCODE}-dialog-commands",
    ],
)
def test_other_dialogs_are_not_known(name: str) -> None:
    """A question, a list of models: no box, no approval."""
    assert seen(name) == screens.Screen()


def test_another_tool_is_not_known() -> None:
    """Nothing is read into the screens of a tool that nobody has looked at."""
    screen = recorded("codex-0.169.0-idle")
    assert screens.look("gemini", screen.captured, (screen.row, screen.shows)) == screens.Screen()


def test_a_prompt_is_known_again_however_wide_its_terminal() -> None:
    """The same request has the same id when its lines are broken elsewhere; another one has another."""
    whole = approval("codex-0.145.0-approval-long")
    broken = approval("codex-0.145.0-approval-long", ("word15 word16", "word15\n  word16"))
    other = approval("codex-0.145.0-approval-long", ("word15 word16", "word15 word17"))
    assert whole.id == broken.id != other.id
    assert approval(f"{CLAUDE}-approval-cmd").id != approval(f"{CLAUDE}-approval-net").id


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("codex-0.169.0-approval-cmd", ("Yes, proceed", "Yes, whatever comes")),
        ("codex-0.169.0-approval-cmd", ("No, and tell Codex", "Yes, and tell Codex")),
        (
            "codex-0.169.0-approval-cmd",
            ("mock wants to", "\n  Would you like to run the following command?\n"),
        ),
        ("codex-0.169.0-approval-cmd", ("to cancel", "to cancel\nand more below")),
        (f"{CLAUDE}-approval-cmd", ("Do you want to proceed?", "Shall we?")),
        (f"{CLAUDE}-approval-cmd", ("Tab to amend", "Tab to approve")),
        (f"{OPENCODE}-approval-cmd", ("Allow always", "Allow all   ")),
        (f"{OPENCODE}-approval-cmd", ("\u25b3", "\u25b2")),
    ],
)
def test_a_prompt_that_is_not_just_so_is_not_known(name: str, change: tuple[str, str]) -> None:
    """Other words, a second question in what the model wrote, something below: no key is worth the risk."""
    assert recorded(name).captured.replace(*change) != recorded(name).captured
    assert seen(name, change).approval is None


def test_a_command_cannot_hide_what_stands_above_it() -> None:
    """A rule and a title inside of a command are shown as a part of it, not taken for the prompt's own."""
    fake = "touch /tmp/x\n " + "\u2500" * 60 + "\n Bash command\n " + "\u254c" * 60 + "\n ls"
    shown = approval(f"{CLAUDE}-approval-cmd", (" touch /tmp/fleet-recon-c\n", f" {fake}\n"))
    assert (shown.command or "").startswith("touch /tmp/x\n")


def test_a_text_about_a_dialog_is_no_dialog() -> None:
    """A conversation that speaks of trust and approvals has its input box all the same."""
    words = "Press enter to confirm or esc to cancel. Trust this folder?"
    assert seen("codex-0.169.0-denied", ("did it", words)) == screens.Screen(draft="")


@pytest.mark.parametrize("path", sorted(SCREENS.glob("*.ansi")), ids=lambda path: path.stem)
def test_no_screen_is_two_things(path: Path) -> None:
    """A screen is an input box, or an approval, or blocked, or none of them: never two."""
    screen = seen(path.stem)
    assert sum([screen.draft is not None, screen.approval is not None, screen.blocked is not None]) <= 1


def test_plain_text() -> None:
    """Attributes and titles go, what is faint and reversed stays; blanks at the end go."""
    shown = "\x1b[1mbold\x1b[0m \x1b[2mfaint\x1b[38;5;2m!\x1b[0m\n\x1b]0;title\x07x\n\n"
    assert screens.plain(shown) == "bold faint!\nx"
