"""Sweeps an endpoint again whose ties come in no particular order, for records that stood on no page.

Where equal keys come in another order with each request, a record at the edge of a page can be shown twice
and another not at all; the one is the sign of the other. The largest page has the fewest edges, and none
where everything fits into one.
"""

from __future__ import annotations

from collections.abc import Mapping

from bulk_export.decode import Decoder
from bulk_export.duplicates import fingerprints, repeated, unseen
from bulk_export.journal import JournalStore
from bulk_export.model import PageKey
from bulk_export.parts import PartSequence
from bulk_export.sweep import Sweep

MOST_SWEEPS = 5


class Recheck:
    """Further sweeps over an endpoint, one page after the other, until one is free of doubt or all are spent.

    `left_out` starts with the rows of the first sweep that are left out, and grows by all rows of the pages
    in `late` but those that no earlier sweep had.
    """

    def __init__(
        self,
        first: Sweep,
        store: JournalStore,
        page_size: int,
        left_out: Mapping[PageKey, frozenset[int]],
        sequence: PartSequence,
    ) -> None:
        self._first = first
        self._store = store
        self._page_size = page_size
        self._ids = Decoder(first.endpoint, columns=False, lines=None)
        self._seen = list(sequence.fingerprints())
        self.left_out = dict(left_out)
        self.late: list[PageKey] = []
        self.recovered = 0
        self.settled = False
        self._given = False
        self._begin(first.number + 1)

    def wanted(self) -> Sweep | None:
        """The sweep that is to be fetched, given once."""
        given, self._given = self._given, True
        return None if given else self.sweep

    def compare(self) -> bool:
        """Take in the sweep that has just been fetched; whether it was the last one."""
        pages = range(1, (self.sweep.plan.end or 0) + 1)
        keys = [self.sweep.key(page) for page in pages]
        prints = [fingerprints(self._ids.decode([self._store.body(key)]).ids) for key in keys]
        rows = sum(map(len, prints)) // 8
        found = unseen(b"".join(prints), self._seen)
        start = 0
        for key, page_prints in zip(keys, prints, strict=True):
            end = start + len(page_prints) // 8
            taken = {position - start for position in found if start <= position < end}
            if taken:
                self.late.append(key)
                self.left_out[key] = frozenset(range(end - start)) - taken
            start = end
        self._seen.extend(prints)
        self.recovered += len(found)
        doubtful = bool(repeated(lambda: iter(prints), rows)) or bool(found)
        self.settled = len(keys) <= 1 or not doubtful
        if self.settled or self.sweep.number >= MOST_SWEEPS:
            return True
        self._begin(self.sweep.number + 1)
        return False

    def _begin(self, number: int) -> None:
        self.sweep = self._first.again(number, self._page_size)
        self.sweep.plan.restore(self._store.page_counts(self._first.endpoint.name, number))
        self._given = False
