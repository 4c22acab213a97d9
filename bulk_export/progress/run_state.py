"""What a run is doing, and what is left of it, as values."""

from __future__ import annotations

from dataclasses import dataclass

from bulk_export.progress.time_left import Ceiling, WorkLeft, seconds_left


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run at one moment. All times are seconds from then.

    Attributes:
        work: What is left; None while the size of no endpoint is known.
        least: What is left at least, from the pages that are known to be there.
        uncounted: How many endpoints there are of whose size nothing is known. `work` takes them for as long as the
            others are on average.
        rereading: The endpoint that is read again, and the number of the sweep; None while lists are read for the
            first time.
        is_fetched: Whether all pages are here.
        held_for: How long nothing is sent after a 429.
        ceiling: What the service lets through after a 429, None if the limits apply.
        closed: When the daily window is closed, as pairs of begin and end, in order.
    """

    work: WorkLeft | None = None
    least: WorkLeft | None = None
    uncounted: int = 0
    rereading: tuple[str, int] | None = None
    is_fetched: bool = False
    held_for: float = 0.0
    ceiling: Ceiling | None = None
    closed: tuple[tuple[float, float], ...] = ()

    def seconds_left(self) -> float | None:
        """Return the seconds until the run has fetched and written everything; None while nothing is known of that."""
        return None if self.work is None else with_pauses(seconds_left(self.work), self.closed)

    def least_seconds(self) -> float:
        """Return the seconds that the run takes at least, as far as is known."""
        return 0.0 if self.least is None else with_pauses(seconds_left(self.least), self.closed)


def with_pauses(seconds: float, pauses: tuple[tuple[float, float], ...]) -> float:
    """Return when work of some seconds is done if it rests during `pauses`, which are pairs of begin and end.

    >>> with_pauses(100.0, ((0.0, 5.0), (60.0, 90.0), (200.0, 300.0)))
    135.0
    """
    moment, left = 0.0, seconds
    for begin, end in pauses:
        if end <= moment:
            continue
        if left <= begin - moment or left <= 0.0:
            break
        left -= max(0.0, begin - moment)
        moment = end
    return moment + left
