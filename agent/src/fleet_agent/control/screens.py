"""What the terminal UI of a tool shows: its input box, that it works, an approval prompt. Pure.

A screen is only what it is recognised as, line by line, with the words that the real programs print: Codex
0.145 to 0.169, Claude Code 2.1.329, OpenCode 1.18.33. Of all else nothing is said, and nobody presses a key at
it. What a model writes is on these screens too, so an approval prompt counts only where no model can put it: at
the very bottom, where the input box would be.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fleet_agent.control.events import MAX_OUTPUT_CHARS, ApprovalRequested

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+].|[^\[\]()*+])")
_OPTION = re.compile(r"\s*(?P<chosen>[\u203a\u276f])?\s*(?P<number>\d)\. (?P<text>.+)")
# At the very left, where no model writes: what it says and asks for is indented.
_RULE = re.compile(r"[\u2500\u2594]{20,}\s*")
_DASHES = re.compile(r"\u254c{20,}\s*")
_BULLETS = ("\u2022 ", "\u25e6 ")
_CODEX_BOTTOM = "Press enter to confirm or esc to cancel"
_ABOVE_BOX_LINES = 12  # how far over Codex's input box its status line may be


@dataclass(frozen=True)
class Option:
    """One answer of a prompt: `number` as it is counted there, `key` that gives it at once."""

    number: int
    text: str
    key: str


@dataclass(frozen=True)
class Approval:
    """An approval prompt. `body`: all that it shows above its answers, of which `command` is what would be run;
    `mark`: stands on the screen with it; `is_cut`: it may ask for more than it shows, so it is not accepted."""

    question: str
    body: str
    command: str | None
    options: tuple[Option, ...]
    keys: tuple[tuple[str, str], ...]  # decision -> key
    mark: str
    kind: str
    is_cut: bool = False

    @property
    def id(self) -> str:
        """The same for as long as it asks the same, however wide the terminal is."""
        words = " ".join([self.question, self.body, *(option.text for option in self.options)]).split()
        return "screen-" + hashlib.blake2b(" ".join(words).encode(), digest_size=8).hexdigest()

    def key(self, decision: str) -> str | None:
        """What to press for a decision; None: this prompt does not offer it."""
        return dict(self.keys).get(decision)

    def event(self) -> ApprovalRequested:
        """It as a session event."""
        return ApprovalRequested(
            request_id=self.id,
            kind=self.kind,
            command=self.command and self.command[-MAX_OUTPUT_CHARS:],
            reason=f"{self.question}\n{self.body}"[:MAX_OUTPUT_CHARS],
            decisions=tuple(decision for decision, _ in self.keys),
        )


@dataclass(frozen=True)
class Screen:
    """What is on a screen.

    `draft`: what stands in the input box; None: there is no box that takes input. `working`: a turn runs.
    `blocked`: why it takes no input, of a dialog that was recognised and is nobody's to answer but a person's.
    `half_interrupted`: it says that one more Escape ends the turn.
    `is_settled`: it shows what it shows only when it has started (Codex: its status line).
    """

    draft: str | None = None
    working: bool = False
    approval: Approval | None = None
    blocked: str | None = None
    half_interrupted: bool = False
    is_settled: bool = field(default=False, compare=False)


def look(tool: str, captured: str, cursor: tuple[int, bool]) -> Screen:
    """`captured`: of `tmux capture-pane -e`; `cursor`: its row, and whether it shows. Of a tool that is not
    known: `Screen()`."""
    lines, solid = _decode(captured)
    if tool == "opencode":
        return _opencode(lines, captured, *cursor)
    see = _TOOLS.get(tool)
    return see(lines, solid, *cursor) if see else Screen()


def plain(captured: str) -> str:
    """The text without attributes, and without the blanks at its end."""
    lines, _ = _decode(captured)
    return "\n".join(lines).rstrip()


def _codex(lines: list[str], solid: list[str], row: int, cursor_shows: bool) -> Screen:
    if approval := _codex_approval(lines):
        return Screen(working=True, approval=approval) if not cursor_shows else Screen()
    box = next((i for i in range(min(row, len(lines) - 1), -1, -1) if lines[i].startswith("\u203a ")), None)
    if not cursor_shows or box is None or _is_loading(lines):
        return Screen(blocked=_blocked(lines, _CODEX_BLOCKS))
    above = lines[max(0, box - _ABOVE_BOX_LINES) : box]
    working = any(line[:2] in _BULLETS and "esc to interrupt)" in line for line in above)
    draft = "\n".join([solid[box][2:], *solid[box + 1 : row + 1]]).strip()
    is_settled = any(" \u00b7 /" in line or " \u00b7 ~" in line for line in lines[row + 1 :])  # its status line
    return Screen(draft=draft, working=working, is_settled=is_settled)


def _is_loading(lines: list[str]) -> bool:
    """While Codex 0.169 starts, it has an input box already, and a question of trust may still come over it."""
    header = next((i for i, line in enumerate(lines) if line.startswith("  >_ OpenAI Codex (")), len(lines))
    return [line.strip() for line in lines[header + 1 : header + 2]] == ["loading"]


def _codex_approval(lines: list[str]) -> Approval | None:
    bottom = _bottom(lines)
    if not bottom or lines[bottom].strip() != _CODEX_BOTTOM:
        return None
    top, options = _options(lines, bottom)
    asked = [i for i in range(top) if lines[i].strip() in _CODEX_QUESTIONS]
    if len(asked) != 1 or len(options) < 2:  # a second one would be a model's, to be taken for this one
        return None
    if options[0].text != "Yes, proceed (y)" or options[-1].text != _CODEX_NO:
        return None
    session = [o for o in options[1:-1] if re.fullmatch(r"Yes, and don't ask again .*\(a\)", o.text)]
    keys = [("accept", "y"), *(("accept_for_session", "a") for _ in session[:1]), ("cancel", "Escape")]
    question = lines[asked[0]].strip()
    kind = _CODEX_QUESTIONS[question]
    begin = asked[0] + 1
    if kind == "patch":  # which is shown above the question
        begin = next((i for i in range(asked[0], -1, -1) if lines[i][:2] in _BULLETS), begin)
    shell = next((i for i in range(asked[0], top) if lines[i].startswith("  $ ")), None)
    return Approval(
        question,
        _text([line for line in lines[begin:top] if line.strip() != question]),
        None if shell is None else _text(lines[shell:top])[2:],
        options,
        tuple(keys),
        _CODEX_BOTTOM,
        kind,
    )


def _claude(lines: list[str], solid: list[str], row: int, _: bool) -> Screen:
    if approval := _claude_approval(lines):
        return Screen(working=True, approval=approval)
    rules = [i for i, line in enumerate(lines) if _RULE.fullmatch(line)]
    if len(rules) < 2 or not rules[-2] < row < rules[-1] or not lines[rules[-2] + 1].startswith("\u276f"):
        return Screen(blocked=_blocked(lines, _CLAUDE_BLOCKS))
    top, end = rules[-2], rules[-1]
    draft = "\n".join([solid[top + 1][1:], *solid[top + 2 : end]]).replace("\xa0", " ").strip()
    whole = lines[top + 1][1:].replace("\xa0", " ").strip()
    if not draft and len(whole) == 1:
        draft = whole  # below the cursor, which is drawn
    elif end == top + 2 and _CLAUDE_EMPTY.fullmatch(whole):
        draft = ""  # with NO_COLOR or CI in its environment nothing is faint
    working = any("esc to interrupt" in line for line in lines[end + 1 :]) or any(
        re.match(r"\S [A-Z][^\s(]*\u2026", line) for line in lines[max(0, top - _ABOVE_BOX_LINES) : top]
    )
    return Screen(draft=draft, working=working, is_settled=True)


def _claude_approval(lines: list[str]) -> Approval | None:
    bottom = _bottom(lines)
    if not bottom or lines[bottom].strip() != "Esc to cancel \u00b7 Tab to amend":
        return None
    top, options = _options(lines, bottom)
    start = next((i for i in range(top - 1, -1, -1) if _RULE.fullmatch(lines[i])), None)
    asked = [i for i in range(start or 0, top) if _CLAUDE_QUESTION.fullmatch(lines[i])]
    if start is None or asked[-1:] != [top - 1] or len(options) < 2:
        return None
    if options[0].text != "Yes" or options[-1].text != "No":
        return None
    inside = lines[start + 1 : top - 1]
    dashes = [i for i, line in enumerate(inside) if _DASHES.fullmatch(line)]
    is_command = len(dashes) > 1 and _text(inside).startswith("Bash command\n")
    return Approval(
        lines[top - 1].strip(),
        _text([line for line in inside if not _DASHES.fullmatch(line)]),
        _text(inside[dashes[0] + 1 : dashes[-1]]) if is_command else None,
        options,
        (("accept", options[0].key), ("cancel", options[-1].key)),
        "Tab to amend",
        "command" if is_command else "tool",
    )


def _opencode(lines: list[str], captured: str, row: int, cursor_shows: bool) -> Screen:
    if approval := _opencode_approval(lines, captured):
        return Screen(working=True, approval=approval) if not cursor_shows else Screen()
    edges = [(i, edge) for i in range(row + 1, len(lines)) if (edge := _OPENCODE_EDGE.match(lines[i]))]
    if not cursor_shows or not edges:
        return Screen(blocked=_blocked(lines, _OPENCODE_BLOCKS))
    end, edge = edges[0]
    top, inside = _boxed(lines, end, edge.start(1), edge.end())
    if len(inside) < 4 or not _OPENCODE_AGENT.fullmatch(inside[-1]) or inside[-2] or not top < row < end - 2:
        return Screen()
    draft = "\n".join(inside[1:-2]).strip()
    below = _OPENCODE_WORKS.search(_columns("".join(lines[end + 1 : end + 2]), 0, edge.end()))
    return Screen(
        draft="" if _OPENCODE_EMPTY.fullmatch(draft) else draft,
        working=below is not None,
        half_interrupted=below is not None and below[1] is not None,
        is_settled=True,
    )


def _opencode_approval(lines: list[str], captured: str) -> Approval | None:
    """A prompt of at most 15 rows, which does not say that it has more to show, but of a patch by a scroll bar.

    There is no key for each answer: one is marked, by its background alone, and Enter gives it.
    """
    bottom = next((i for i in range(len(lines) - 1, 0, -1) if _OPENCODE_ANSWERS.match(lines[i])), None)
    if bottom is None:
        return None
    left, right = lines[bottom].index(_BAR) + 1, lines[bottom].index(_OPENCODE_CONFIRM) + len(_OPENCODE_CONFIRM)
    top, inside = _boxed(lines, bottom, left, right + 3)  # its margin, with the scroll bar
    gap = next((i for i in range(2, len(inside)) if not inside[i]), 0)
    below = any(_columns(line, left, right).strip() for line in lines[bottom + 1 :])
    if below or not gap or inside[0] or inside[1] != f"\u25b3 {_OPENCODE_MARK}":
        return None
    question, shown = " ".join(inside[2:gap]), inside[gap:]
    body = _text([line.rstrip("".join(_SCROLL_BAR)) for line in shown])
    kind = "patch" if question.startswith("\u2192 Edit ") else "tool"
    kind = "command" if question == "# Shell command" else kind
    scrolls = any(line.endswith(_SCROLL_BAR) for line in shown)
    is_cut = scrolls if kind == "patch" else bottom - top > _OPENCODE_ROWS or len(lines) < _OPENCODE_LINES
    at = [_grounds(captured, bottom)[lines[bottom].index(answer)] for answer in _OPENCODE_OPTIONS]
    accept = (("accept", "Enter"),) if at[0] != at[1] == at[2] and not is_cut else ()
    return Approval(
        question,
        body,
        body.removeprefix("$ ") if kind == "command" else None,
        tuple(Option(i + 1, text, "") for i, text in enumerate(_OPENCODE_OPTIONS)),
        (*accept, ("cancel", "Escape")),
        _OPENCODE_MARK,
        kind,
        is_cut,
    )


def _boxed(lines: list[str], end: int, left: int, right: int) -> tuple[int, list[str]]:
    """The rows above this one with a bar before column `left`: the first, and what stands in them."""
    top = end
    while top and lines[top - 1][left - 1 : left] == _BAR:
        top -= 1
    return top, [_columns(line, left, right).strip() for line in lines[top:end]]


def _columns(line: str, begin: int, end: int) -> str:
    """What stands in these columns of a terminal, where a wide character takes two."""
    found, at = "", 0
    for char in line:
        if begin <= at < end:
            found += char
        if not unicodedata.combining(char):
            at += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return found


def _options(lines: list[str], bottom: int) -> tuple[int, tuple[Option, ...]]:
    """The answers above the last line, counted down to 1, and the row of the first. A long one has several."""
    found: list[Option] = []
    rest: list[str] = []
    for row in range(bottom - 1, -1, -1):
        match = _OPTION.fullmatch(lines[row])
        if match and (not found or int(match["number"]) == found[0].number - 1):
            text = " ".join([match["text"].strip(), *rest])
            found.insert(0, Option(int(match["number"]), text, match["number"]))
            rest = []
            if found[0].number == 1:
                return row, tuple(found)
        elif lines[row].strip():
            rest.insert(0, lines[row].strip())
    return 0, ()


def _blocked(lines: list[str], known: tuple[tuple[str, str], ...]) -> str | None:
    """What a dialog of the start asks, if one of these is on the screen."""
    text = "\n".join(lines)
    return next((what for words, what in known if words in text), None)


def _bottom(lines: list[str]) -> int:
    """The last row with something in it."""
    return next((i for i in range(len(lines) - 1, -1, -1) if lines[i].strip()), 0)


def _text(lines: list[str]) -> str:
    return "\n".join(line.strip() for line in lines if line.strip())


def _decode(captured: str) -> tuple[list[str], list[str]]:
    """The lines; and the same lines without what is faint or reversed: placeholders, and the cursor drawn."""
    lines, solid = [""], [""]
    faint = reverse = False
    at = 0
    for match in [*_ESCAPE.finditer(captured), None]:
        for char in captured[at : match.start() if match else None]:
            if char == "\n":
                lines.append("")
                solid.append("")
            else:
                lines[-1] += char
                solid[-1] += "" if faint or reverse else char
        if match is None:
            break
        at = match.end()
        if sgr := _SGR.fullmatch(match[0]):
            faint, reverse = _attributes(sgr[1], faint, reverse)
    return lines, solid


def _attributes(codes: str, faint: bool, reverse: bool) -> tuple[bool, bool]:
    """Faint and reverse after a Select Graphic Rendition: ECMA-48 8.3.117."""
    for code in _codes(codes):
        if code == "0":
            faint = reverse = False
        elif code in ("2", "22"):
            faint = code == "2"
        elif code in ("7", "27"):
            reverse = code == "7"
    return faint, reverse


def _grounds(captured: str, row: int) -> list[str]:
    """The background of each character of a row, as far as the row itself sets it."""
    line = captured.split("\n")[row]
    found: list[str] = []
    ground, at = "", 0
    for match in [*_ESCAPE.finditer(line), None]:
        found += [ground] * ((match.start() if match else len(line)) - at)
        at = match.end() if match else at
        sgr = _SGR.fullmatch(match[0]) if match else None
        for code in _codes(sgr[1]) if sgr else ():
            ground = code if _GROUND.match(code) else "" if code in ("0", "49") else ground
    return found


def _codes(codes: str) -> Iterator[str]:
    """One code after the other, a colour (after 38, 48, 58) with all of its numbers."""
    words = codes.split(";")
    while words:
        numbers = {"5": 2, "2": 4}.get(words[1], 0) if words[0] in ("38", "48", "58") and words[1:] else 0
        yield ";".join(words[: 1 + numbers]) if numbers else words[0].partition(":")[0] or "0"
        words = words[1 + numbers :]


_CODEX_QUESTIONS = {
    "Would you like to run the following command?": "command",
    "Would you like to make the following edits?": "patch",
}
_CODEX_NO = "No, and tell Codex what to do differently (esc)"
_CODEX_BLOCKS = (
    ("Trust this folder?", "Codex asks whether this folder is to be trusted"),
    ("Do you trust the contents of this directory?", "Codex asks whether this folder is to be trusted"),
    ("1. Sign in with ChatGPT", "Codex is not logged in"),
)
_CLAUDE_QUESTION = re.compile(r" Do you want to [^?]+\?")
_CLAUDE_EMPTY = re.compile(r'Press up to edit queued messages|Try "[^"]*"')
_CLAUDE_BLOCKS = (
    ("Yes, I trust this folder", "Claude Code asks whether this folder is to be trusted"),
    ("Select login method", "Claude Code is not logged in"),
    ("Choose the text style", "Claude Code asks how it is to look: it was never started here"),
)
_BAR = "\u2503"
_SCROLL_BAR = ("\u2580", "\u2584", "\u2588")
_GROUND = re.compile(r"48;|4[0-7]$|10[0-7]$")
_OPENCODE_EDGE = re.compile(r" *\u2579(\u2580+)")  # below its input box
_OPENCODE_AGENT = re.compile(
    r"\S.* \u00b7 \S.*"
)  # and its model, in the box; where a shell command is typed: Shell
_OPENCODE_EMPTY = re.compile(r'Ask anything\u2026 "[^"]*"')
_OPENCODE_WORKS = re.compile(r"\besc (again to )?interrupt\b")
_OPENCODE_OPTIONS = ("Allow once", "Allow always", "Reject")
_OPENCODE_CONFIRM = "\u21c6 select  enter confirm"
_OPENCODE_ANSWERS = re.compile(
    rf" *{_BAR}   {'   '.join(_OPENCODE_OPTIONS)}  +\S+ fullscreen  {_OPENCODE_CONFIRM}"
)
_OPENCODE_MARK = "Permission required"
_OPENCODE_BLOCKS = (("Tell OpenCode what to do differently", "OpenCode asks what is to be done instead"),)
_OPENCODE_ROWS = 12  # of a prompt, above its answers, that surely shows all
_OPENCODE_LINES = 24  # of a terminal in which no prompt has to be smaller
_TOOLS: dict[str, Callable[[list[str], list[str], int, bool], Screen]] = {"codex": _codex, "claude": _claude}
