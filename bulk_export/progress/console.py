"""Write lines for people or for machines to a stream, usually standard error."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast, get_args

from bulk_export.core.text import printable
from bulk_export.errors import BulkExportError

LogFormat = Literal["text", "json"]
# Wider terminals get lines as they are, which they break themselves and copy as one.
_WIDEST_WRAPPED = 80
_NARROWEST = 20
FORMS: tuple[str, ...] = get_args(LogFormat)


class Console:
    """Writes lines of text, or of JSON objects with `time`, `level`, `message` and more.

    Lines are discarded once the stream is closed, full, or read by nobody: that must not fail an export.

    Args:
        stream: Where to write.
        form: `text` for people, `json` for machines.

    Attributes:
        is_quiet: Whether warnings are left out that do not concern the records (`--quiet`).
    """

    is_quiet = False

    def __init__(self, stream: TextIO, form: LogFormat = "text") -> None:
        self.stream = _unfailing(stream)
        self.form = form

    def line(self, message: str, *, level: str = "info", **fields: object) -> None:
        """Write a line. The JSON object also has `fields`, which repeat the numbers of the message."""
        self.line_at(None, message, level, fields)

    def line_at(self, at: datetime | None, message: str, level: str, fields: Mapping[str, object]) -> None:
        """Write a line as `line` does. As text it begins with the time of day, if one is given."""
        if self.form == "json":
            moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._write(json.dumps({"time": moment, "level": level, "message": message, **fields}))
        else:
            text = message if level == "info" else f"{level}: {message}"
            self._write(one_line(text if at is None else f"{at:%H:%M:%S} {text}"))

    def error(self, error: BulkExportError) -> None:
        """Write an error in one or two lines: what happened, and then what was kept and what to do."""
        if self.form == "json":
            self.line(error.what, level="error", exit_code=error.exit_code, kept=error.kept, next_step=error.next_step)
            return
        first, *more = map(one_line, error.lines())
        self._write("\n".join([f"bulk-export: {first}", *(f"  {line}" for line in more)]))

    def frames(self, text: str) -> None:
        """Write a traceback: several lines for people, one object for machines."""
        if self.form == "json":
            self.line("traceback", level="debug", frames=text.splitlines())
        else:
            self._write(text.rstrip("\n"))

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None if the lines do not go to one."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns if self.stream.isatty() else None
        except (OSError, ValueError, AttributeError):
            return None

    def _write(self, text: str) -> None:
        width = self.width if self.form == "text" else None
        if width is not None and _NARROWEST <= width <= _WIDEST_WRAPPED:
            text = "\n".join(between_words(line, width) for line in text.split("\n"))
        self.stream.write(text + "\n")
        self.stream.flush()


class _UnfailingStream:
    """A text stream that discards everything once it is closed, full, or read by nobody."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_lost = False

    def write(self, text: str) -> int:
        if not self._is_lost:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._is_lost = True
        return len(text)

    def flush(self) -> None:
        if not self._is_lost:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._is_lost = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _unfailing(stream: TextIO) -> TextIO:
    return cast("TextIO", _UnfailingStream(stream))


def between_words(text: str, width: int) -> str:
    """Break a line of text between words, so that no line is wider than `width` unless a word is."""
    indent = text[: len(text) - len(text.lstrip())]
    lines = textwrap.wrap(text, width, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def one_line(text: str) -> str:
    """A text as one line of printable characters, since names and messages of a service may contain any character."""
    return printable(text.replace("\r\n", " ").replace("\n", " "))
