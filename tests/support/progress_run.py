"""The inputs of a display: a clock, windows, a summary."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bulk_export.progress.observer import EndpointSummary, ExportSummary, WindowUse


class Clock:
    """A clock that stands where the test puts it, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def noon() -> datetime:
    """A time of day."""
    return datetime(2026, 3, 2, 12, tzinfo=UTC)


def windows(used: int = 3, free: float = 0.0) -> list[WindowUse]:
    """Use of the two limit windows by one machine; the second is `free` in so many seconds."""
    return [WindowUse(None, 1000, 300.0, used, 0.0), WindowUse("this machine", 300, 300.0, used, free)]


def summary(**changes: object) -> ExportSummary:
    """The summary of an export of one endpoint."""
    endpoint = {
        "name": "statements",
        "records": 12_345,
        "pages": 42,
        "requests": 43,
        "duplicates": 0,
        "files": 1,
        "bytes": 1_234_567,
        "drift": {"unknown": {}, "misfits": {}},
    }
    return ExportSummary(Path("out"), [EndpointSummary(**(endpoint | changes))], 43, 1, 0, 0, 65.0)  # type: ignore[arg-type]
