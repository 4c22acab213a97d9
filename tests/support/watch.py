"""An observer for tests of what a run says, and of what happens to it at a certain moment."""

from __future__ import annotations

from collections.abc import Callable

from bulk_export.progress.observer import ExportSummary, Observer


class Watch(Observer):
    """Keeps warnings, and does something when the export is finished or sends a request."""

    def __init__(self, at_end: Callable[[], object] = object, at_request: Callable[[], object] = object) -> None:
        self.texts: list[str] = []
        self.at_end, self.at_request = at_end, at_request

    def warned(self, message: str) -> None:
        self.texts.append(message)

    def request_sent(self, endpoint: str) -> None:
        self.at_request()

    def finished(self, summary: ExportSummary) -> None:
        self.at_end()
