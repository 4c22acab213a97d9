"""A page between its answer and the journal."""

from __future__ import annotations

from dataclasses import dataclass

from bulk_export.extract.response import Response
from bulk_export.extract.sweep import Sweep
from bulk_export.transform.decode import InvalidPage, SplitBody

# Objects in a large body are counted before each of them takes memory; real records hold some tens.
_LARGE = 4 * 1024 * 1024
_MOST_OBJECTS = 4_096


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A whole page: its body with the records in it, and as `stored` the body as it was sent, in its `encoding`.

    It `is_certain` where nothing but its request can have been answered with it.
    """

    sweep: Sweep
    page: int
    body: SplitBody
    stored: bytes
    encoding: str
    is_certain: bool = True

    @classmethod
    def of(cls, answer: Response, sweep: Sweep, page: int) -> FetchedPage:
        """The page in an answer. Raises UnusablePage where there is none."""
        if len(answer.body) > _LARGE and answer.body.count(b"{") > _MOST_OBJECTS * (sweep.page_size + 100):
            raise InvalidPage("it holds far more objects than the records that were asked for could")
        body = sweep.arrangement.split_with_ids(answer.body)
        return cls(sweep, page, body, answer.stored, answer.encoding, answer.is_certain)
