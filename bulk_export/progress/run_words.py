"""What displays call a run: an export, or a poll of a sync, which is an export below the copy's directory."""

from __future__ import annotations

from dataclasses import dataclass

from bulk_export.core.text import counted


@dataclass(frozen=True, slots=True)
class RunWords:
    """The words for one kind of run.

    Attributes:
        doing: What it does, before the names of its endpoints.
        noun: What it is.
        empty: What is said of an endpoint without a page; empty for the number of pages.
    """

    doing: str
    noun: str
    empty: str = ""

    def pages(self, endpoint: str, pages: int) -> str:
        """That the end of an endpoint was found, after so many pages."""
        found = self.empty if self.empty and not pages else f"{counted(pages, 'page')} in all"
        return f"{endpoint}: {found}"


EXPORT = RunWords("exporting", "export")
SYNC = RunWords("syncing", "poll", "nothing to fetch")
