"""How far an export has come, counted from its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bulk_export.progress.observer import WindowUse


@dataclass(slots=True)
class EndpointTally:
    """Pages that hold records and their records, those `earlier` ones of interrupted runs among them.

    `end` is the number of pages once it is known.
    """

    name: str
    pages: int = 0
    records: int = 0
    earlier_pages: int = 0
    earlier_records: int = 0
    end: int | None = None


class Tally:
    """Counts of all endpoints, and what they say about the time left. `now` gives seconds.

    The limits are looked at when told to; in between, what was seen last counts.
    """

    def __init__(
        self, names: Sequence[str], windows: Callable[[], Sequence[WindowUse]], now: Callable[[], float]
    ) -> None:
        self.endpoints = {name: EndpointTally(name) for name in names}
        self.requests = 0
        self._windows = windows
        self._now = now
        self._began = now()
        self._away_until = self._began
        self.look()

    def away_for(self, pause: float) -> None:
        """Nothing is sent for so many seconds, since the service is away."""
        self._away_until = self._now() + pause

    def look(self) -> None:
        """See how the limits stand. To be called on the event loop, unlike everything else here."""
        self._uses, self._seen = tuple(self._windows()), self._now()

    def resumed(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Take in what an interrupted run left."""
        one = self.endpoints[endpoint]
        one.pages = one.earlier_pages = pages
        one.records = one.earlier_records = records
        one.end = end

    def page(self, endpoint: str, records: int) -> None:
        """Count a page; one without records only helped to find the end."""
        self.endpoints[endpoint].pages += records > 0
        self.endpoints[endpoint].records += records

    @property
    def pages(self) -> int:
        """Pages with records that are here."""
        return sum(endpoint.pages for endpoint in self.endpoints.values())

    @property
    def records(self) -> int:
        """Records that are here."""
        return sum(endpoint.records for endpoint in self.endpoints.values())

    @property
    def end(self) -> int | None:
        """The pages of all endpoints, None while an end is unknown."""
        ends = [endpoint.end for endpoint in self.endpoints.values()]
        known = [end for end in ends if end is not None]
        return sum(known) if len(known) == len(ends) else None

    @property
    def elapsed(self) -> float:
        """Seconds since the start of this run."""
        return self._now() - self._began

    @property
    def windows(self) -> list[WindowUse]:
        """The limits as seen last, brought forward to now."""
        uses, passed = self._uses, self._now() - self._seen
        return [
            WindowUse(use.address, use.limit, use.period, use.used, max(0.0, use.next_free_in - passed)) for use in uses
        ]

    def seconds_left(self) -> float | None:
        """How long fetching the rest will take under the limits, None while an end is unknown."""
        if self.end is None:
            return None
        left = sum(max(0, (one.end or 0) - one.pages) for one in self.endpoints.values())
        fetched = sum(one.pages - one.earlier_pages for one in self.endpoints.values())
        pace = self.elapsed / max(1, fetched)
        return max([left * pace, *(_under_limit(left, window) for window in self._tightest())]) if left else 0.0

    def waiting(self) -> float:
        """Seconds until a limit lets the next request through, 0 while none holds it."""
        windows = self.windows
        common = [window.next_free_in for window in windows if window.address is None]
        addresses = [window.next_free_in for window in windows if window.address is not None]
        return max(max(common, default=0.0), min(addresses, default=0.0))

    def state(self) -> str:
        """What it is at, in words."""
        away = self._away_until - self._now()
        if away > 0:
            return f"the service is away; next attempt in {clock_text(away)}"
        left, waiting = self.seconds_left(), self.waiting()
        if left == 0:
            return "all pages are here, writing the rest"
        words = "looking for the end" if left is None else f"about {clock_text(left)} left"
        return f"{words}; the limits allow the next request in {clock_text(waiting)}" if waiting >= 1 else words

    def _tightest(self) -> list[WindowUse]:
        """The common window, and those of all addresses taken together."""
        windows = self.windows
        addresses = [window for window in windows if window.address is not None]
        together = WindowUse(
            address="all",
            limit=sum(window.limit for window in addresses) or 1,
            period=max((window.period for window in addresses), default=0.0),
            used=sum(window.used for window in addresses),
            next_free_in=min((window.next_free_in for window in addresses), default=0.0),
        )
        return [*(window for window in windows if window.address is None), together]


def _under_limit(requests: int, window: WindowUse) -> float:
    """Seconds that `requests` more need under one limit: what is free goes at once, the rest a window at a time."""
    beyond = requests - max(0, window.limit - window.used)
    if beyond <= 0:
        return 0.0
    return window.next_free_in + (beyond - 1) // window.limit * window.period


def clock_text(seconds: float) -> str:
    """Seconds as `7 s`, `4 min 05 s` or `2 h 03 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def bytes_text(size: int) -> str:
    """A number of bytes as `812 B`, `1.2 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
