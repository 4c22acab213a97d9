"""Lines for people or for machines, on one stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal, TextIO, get_args

from bulk_export.errors import BulkExportError
from bulk_export.printable import printable

LogFormat = Literal["text", "json"]
FORMS: tuple[str, ...] = get_args(LogFormat)


class Console:
    """Writes whole lines: plain text, or one JSON object each with `time`, `level` and `message`.

    A stream that nobody reads any more swallows them: whoever watches an export may leave it.
    """

    def __init__(self, stream: TextIO, form: LogFormat = "text") -> None:
        self.stream = stream
        self.form = form
        self._deserted = False

    def line(self, message: str, *, level: str = "info", **fields: object) -> None:
        """One line. `fields` are for machines; the message says the same to people."""
        if self.form == "json":
            moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._write(json.dumps({"time": moment, "level": level, "message": message, **fields}))
        else:
            self._write(one_line(message if level == "info" else f"{level}: {message}"))

    def error(self, error: BulkExportError) -> None:
        """An error in one or two lines: what happened; what was kept and what to do."""
        if self.form == "json":
            self.line(error.what, level="error", exit_code=error.exit_code, kept=error.kept, next_step=error.next_step)
            return
        first, *more = map(one_line, error.lines())
        self._write("\n".join([f"bulk-export: {first}", *(f"  {line}" for line in more)]))

    def frames(self, text: str) -> None:
        """Where an error came from: several lines for people, one for machines."""
        if self.form == "json":
            self.line("traceback", level="debug", frames=text.splitlines())
        else:
            self._write(text.rstrip("\n"))

    def _write(self, text: str) -> None:
        if not self._deserted:
            try:
                self.stream.write(text + "\n")
                self.stream.flush()
            except OSError:
                self._deserted = True


def one_line(text: str) -> str:
    """A text as one line in which nothing is hidden: names and messages of a service may hold any character."""
    return printable(text.replace("\r\n", " ").replace("\n", " "))
