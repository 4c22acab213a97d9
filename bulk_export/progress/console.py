"""Lines for people or for machines, on one stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal, TextIO

from bulk_export.errors import BulkExportError

LogFormat = Literal["text", "json"]


class Console:
    """Writes whole lines: plain text, or one JSON object each with `time`, `level` and `message`."""

    def __init__(self, stream: TextIO, form: LogFormat = "text") -> None:
        self.stream = stream
        self.form = form

    def line(self, message: str, *, level: str = "info", **fields: object) -> None:
        """One line. `fields` are for machines; the message says the same to people."""
        if self.form == "json":
            moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            text = json.dumps({"time": moment, "level": level, "message": message, **fields}, ensure_ascii=False)
        else:
            text = message if level == "info" else f"{level}: {message}"
        self.stream.write(text + "\n")
        self.stream.flush()

    def error(self, error: BulkExportError) -> None:
        """An error in one or two lines: what happened; what was kept and what to do."""
        if self.form == "json":
            self.line(error.what, level="error", exit_code=error.exit_code, kept=error.kept, next_step=error.next_step)
            return
        first, *more = error.lines()
        self.stream.write("\n".join([f"bulk-export: {first}", *(f"  {line}" for line in more)]) + "\n")
        self.stream.flush()
