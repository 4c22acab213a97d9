"""How long requests take, and how many of them bring a page, lately: for the forecast of the time left."""

from __future__ import annotations

from dataclasses import dataclass

# About so many of the last requests make the mean.
_LATELY = 40


@dataclass(slots=True)
class RecentMean:
    """A mean in which later values weigh more. It is 0.0 before the first."""

    value: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """Add a value."""
        self.count = min(self.count + 1, _LATELY)
        self.value += (value - self.value) / self.count


class RequestPace:
    """The requests of a run: those of first sweeps, and those of further ones, whose pages are larger."""

    def __init__(self) -> None:
        self._first, self._further = RecentMean(), RecentMean()
        self._successes = RecentMean()

    def record(self, seconds: float, *, is_further: bool, has_arrived: bool) -> None:
        """Record a request that kept a worker busy for some seconds, and whether its response was stored."""
        (self._further if is_further else self._first).add(seconds)
        self._successes.add(float(has_arrived))

    def seconds(self, *, is_further: bool) -> float:
        """Return how long a request of one kind takes, or one of the other kind if there was none."""
        kind, other = (self._further, self._first) if is_further else (self._first, self._further)
        return kind.value if kind.count else other.value

    @property
    def requests_per_page(self) -> float:
        """How many requests a page takes, since some of them fail; no more than two."""
        return 1.0 / max(0.5, self._successes.value) if self._successes.count else 1.0
