"""The line that is typed while other lines come in above it. Pure: keys in, lines out."""

import codecs
import re

from fleet.text import FORBIDDEN, REPLACEMENT
from fleet.views import cells

PROMPT = "> "
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"  # xterm's bracketed paste: a pasted line end sends nothing
_LINE_END_SHOWN = "⏎"
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|[^\[O])")
_PART_OF_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*|O)?")
_WORD = re.compile(r"\S*\s*\Z")
_PASTE_BEGIN, _PASTE_END = "\x1b[200~", "\x1b[201~"


class InputLine:
    """A line being typed. `has_ended`: end of input was typed on an empty line."""

    def __init__(self) -> None:
        self.text = ""
        self.has_ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._escape = ""
        self._is_pasting = False

    def feed(self, data: bytes) -> list[str]:
        """The lines that these keys complete."""
        return [line for char in self._decoder.decode(data) if (line := self._key(char)) is not None]

    def shown(self, width: int) -> str:
        """The prompt and the end of what is typed, in at most `width` cells."""
        visible = FORBIDDEN.sub(REPLACEMENT, self.text.replace("\n", _LINE_END_SHOWN))
        return PROMPT + cells.clip_start(visible, max(0, width - len(PROMPT) - 1))

    def _key(self, char: str) -> str | None:
        if self._escape or char == "\x1b":
            self._in_escape(char)
            return None
        if char in "\r\n":
            return self._enter()
        if char in "\x7f\b":
            self.text = self.text[:-1]
        elif char == "\x15":  # Ctrl-U
            self.text = ""
        elif char == "\x17":  # Ctrl-W
            self.text = _WORD.sub("", self.text, count=1)
        elif char == "\x04":  # Ctrl-D
            self.has_ended = not self.text
        elif char >= " " or char == "\t":
            self.text += char
        return None

    def _enter(self) -> str | None:
        if self._is_pasting:
            self.text += "\n"
            return None
        line, self.text = self.text, ""
        return line

    def _in_escape(self, char: str) -> None:
        self._escape += char
        if _ESCAPE.fullmatch(self._escape):
            if self._escape in (_PASTE_BEGIN, _PASTE_END):
                self._is_pasting = self._escape == _PASTE_BEGIN
            self._escape = ""
        elif not _PART_OF_ESCAPE.fullmatch(self._escape):
            self._escape = ""
