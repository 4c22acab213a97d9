"""Which page size a list gets if the service is to decide (`--page-size auto`): pure rules on what was measured.

Sizes divide 3,000, the records of a block, so that files are cut at the same records whatever size was chosen, and the
bytes do not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIZES = (300, 1500, 3000)


@dataclass(frozen=True, slots=True)
class SizeTrial:
    """The first page of a list, requested with one size.

    Attributes:
        size: How many records were asked for.
        records: How many arrived; 0 if no page did.
        seconds: The time from the request to its page.
    """

    size: int
    records: int
    seconds: float

    @property
    def is_full(self) -> bool:
        """Whether as many records arrived as were asked for."""
        return self.records >= self.size

    @property
    def pace(self) -> float:
        """Seconds for each record."""
        return self.seconds / max(1, self.records)


def next_trial(trials: Sequence[SizeTrial], largest: int) -> int | None:
    """Return the size to try now.

    Sizes grow while pages are full and the time for each record falls.

    Args:
        trials: What was tried, in order.
        largest: The largest page of the list.

    Returns:
        A size; None if enough is known.

    Example:
        >>> next_trial([SizeTrial(300, 300, 0.3)], 3000)
        1500
        >>> next_trial([SizeTrial(300, 120, 0.3)], 3000)
    """
    if not trials:
        return SIZES[0] if largest >= SIZES[0] else None
    last = trials[-1]
    if not last.is_full or (len(trials) > 1 and last.pace >= trials[-2].pace):
        return None
    return next((size for size in SIZES if last.size < size <= largest), None)


def best_size(trials: Sequence[SizeTrial], largest: int) -> int:
    """Return the size of the full page that took the least time for each record; the smallest if there was none."""
    full = [trial for trial in trials if trial.is_full]
    return min(full, key=lambda trial: trial.pace).size if full else min(SIZES[0], largest)


def smaller_size(size: int) -> int:
    """Return the size after `size` when its pages keep failing; that of the smallest if there is none."""
    return max((each for each in SIZES if each < size), default=SIZES[0])
