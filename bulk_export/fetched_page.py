"""A page between its answer and the journal."""

from __future__ import annotations

from dataclasses import dataclass

from bulk_export.decode import SplitBody
from bulk_export.sweep import Sweep


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A whole page: its body with the records in it, and as `stored` the body as it was sent, in its `encoding`."""

    sweep: Sweep
    page: int
    body: SplitBody
    stored: bytes
    encoding: str
