"""The pages of one endpoint in the order in which they are converted, and which of them can be converted now."""

from __future__ import annotations

from dataclasses import dataclass

from bulk_export.core.model import PageKey
from bulk_export.extract.sweep import Sweep

# The number of records to convert in one step: enough for efficient columns, few enough to hold in memory.
BLOCK_RECORDS = 3_000


def pages_per_block(page_size: int) -> int:
    """Return how many pages are converted in one step."""
    return max(1, BLOCK_RECORDS // page_size)


@dataclass(frozen=True, slots=True)
class PageSlot:
    """A page and its position in the sequence: `ordinal`, from 1. It has `records` records."""

    key: PageKey
    ordinal: int
    records: int


@dataclass(frozen=True, slots=True)
class PageSequence:
    """The pages of the first sweep, followed by the `extra` pages of further sweeps, which hold what it missed.

    Nobody counts the records of extra pages; each is taken to be full, with `extra_size`.
    """

    sweep: Sweep
    extra: tuple[PageKey, ...]
    extra_size: int

    @property
    def block_pages(self) -> int:
        """How many pages make a block."""
        return pages_per_block(self.sweep.page_size)

    def last(self) -> int:
        """Return the ordinal of the last page. The sweep must be complete."""
        return (self.sweep.plan.end or 0) + len(self.extra)

    def is_done(self, done: int) -> bool:
        """Whether all pages are known, and no page follows the ordinal `done`."""
        return self.sweep.plan.complete and done >= self.last()

    def next_block(self, done: int) -> list[PageSlot]:
        """Return the pages that follow the ordinal `done`: a full block, or the rest of a complete sweep.

        It is empty while too few pages have arrived. Pages that may still be requested again are not given.
        """
        plan = self.sweep.plan
        arrived = plan.contiguous if plan.end is None else min(plan.contiguous, plan.end)
        last = self.last() if plan.complete else arrived
        if last - done < self.block_pages and not plan.complete:
            return []
        return [self.slot(ordinal) for ordinal in range(done + 1, min(last, done + self.block_pages) + 1)]

    def slot(self, ordinal: int) -> PageSlot:
        """Return the page at a position."""
        end = self.sweep.plan.end
        beyond = 0 if end is None else ordinal - end
        if beyond > 0 and self.extra:
            return PageSlot(self.extra[beyond - 1], ordinal, self.extra_size)
        return PageSlot(self.sweep.key(ordinal), ordinal, self.sweep.stored(ordinal))
