"""An observer that keeps the warnings of a run."""

from __future__ import annotations

from bulk_export.progress.observer import Observer


class HeardWarnings(Observer):
    """`warnings` has the messages that a person would have seen, in order."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)
