"""Write lines for people or for machines to a stream, usually standard error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast, get_args

from bulk_export.core.text import printable
from bulk_export.errors import BulkExportError

LogFormat = Literal["text", "json"]
FORMS: tuple[str, ...] = get_args(LogFormat)


class Console:
    """Writes lines of text, or of JSON objects with `time`, `level`, `message` and more.

    Lines are discarded once the stream is closed, full, or read by nobody: that must not fail an export.

    Args:
        stream: Where to write.
        form: `text` for people, `json` for machines.
    """

    def __init__(self, stream: TextIO, form: LogFormat = "text") -> None:
        self.stream = _unfailing(stream)
        self.form = form

    def line(self, message: str, *, level: str = "info", **fields: object) -> None:
        """Write a line. The JSON object also has `fields`, which repeat the numbers of the message."""
        if self.form == "json":
            moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._write(json.dumps({"time": moment, "level": level, "message": message, **fields}))
        else:
            self._write(one_line(message if level == "info" else f"{level}: {message}"))

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

    def _write(self, text: str) -> None:
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


def one_line(text: str) -> str:
    """A text as one line of printable characters, since names and messages of a service may contain any character."""
    return printable(text.replace("\r\n", " ").replace("\n", " "))
