"""The progress of an export, counted from its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bulk_export.progress.observer import WindowUse


@dataclass(slots=True)
class EndpointTally:
    """Counts of one endpoint: pages with records, and their records.

    The `earlier` ones are those of interrupted runs, which `pages` and `records` include. `end` is the number of pages
    once it is known.
    """

    name: str
    pages: int = 0
    records: int = 0
    earlier_pages: int = 0
    earlier_records: int = 0
    end: int | None = None


class Tally:
    """Counts of all endpoints, and the time left.

    Args:
        names: The endpoints.
        windows: Reads the use of the limits. It is called by `refresh_limits` only.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self, names: Sequence[str], windows: Callable[[], Sequence[WindowUse]], now: Callable[[], float]
    ) -> None:
        self.endpoints = {name: EndpointTally(name) for name in names}
        self.requests = 0
        self._windows = windows
        self._now = now
        self._began = now()
        self._unavailable_until = self._began
        self.refresh_limits()

    def away_for(self, pause: float) -> None:
        """Note that nothing is sent for some seconds, since the service cannot be reached."""
        self._unavailable_until = self._now() + pause

    def refresh_limits(self) -> None:
        """Read the use of the limits. Call this on the event loop; everything else may be called in any thread."""
        self._uses, self._seen = tuple(self._windows()), self._now()

    def add_resumed(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Count what an interrupted run stored."""
        counts = self.endpoints[endpoint]
        counts.pages = counts.earlier_pages = pages
        counts.records = counts.earlier_records = records
        counts.end = end

    def add_page(self, endpoint: str, records: int) -> None:
        """Count a page. One without records only helped to find the end, and counts as none."""
        self.endpoints[endpoint].pages += records > 0
        self.endpoints[endpoint].records += records

    @property
    def pages(self) -> int:
        """The pages with records that are stored."""
        return sum(endpoint.pages for endpoint in self.endpoints.values())

    @property
    def records(self) -> int:
        """The records that are stored."""
        return sum(endpoint.records for endpoint in self.endpoints.values())

    @property
    def end(self) -> int | None:
        """The number of pages of all endpoints, None while an end is unknown."""
        ends = [endpoint.end for endpoint in self.endpoints.values()]
        known = [end for end in ends if end is not None]
        return sum(known) if len(known) == len(ends) else None

    @property
    def elapsed(self) -> float:
        """Seconds since the start of this run."""
        return self._now() - self._began

    @property
    def windows(self) -> list[WindowUse]:
        """The limits as they were read last, with waits that end earlier by the time since then."""
        uses, passed = self._uses, self._now() - self._seen
        return [
            WindowUse(use.address, use.limit, use.period, use.used, max(0.0, use.next_free_in - passed)) for use in uses
        ]

    def seconds_left(self) -> float | None:
        """Seconds that the remaining pages take under the limits, None while an end is unknown."""
        if self.end is None:
            return None
        left = sum(max(0, (counts.end or 0) - counts.pages) for counts in self.endpoints.values())
        fetched = sum(counts.pages - counts.earlier_pages for counts in self.endpoints.values())
        pace = self.elapsed / max(1, fetched)
        return max([left * pace, *(_under_limit(left, window) for window in self._tightest())]) if left else 0.0

    def seconds_to_next_request(self) -> float:
        """Seconds until the limits allow a request, 0.0 if they allow one now."""
        windows = self.windows
        common = [window.next_free_in for window in windows if window.address is None]
        addresses = [window.next_free_in for window in windows if window.address is not None]
        return max(max(common, default=0.0), min(addresses, default=0.0))

    def status(self) -> str:
        """What the export is doing, in words."""
        unavailable = self._unavailable_until - self._now()
        if unavailable > 0:
            return f"the service is away; next attempt in {clock_text(unavailable)}"
        left, wait = self.seconds_left(), self.seconds_to_next_request()
        if left == 0:
            return "all pages are here, writing the rest"
        status = "counting pages" if left is None else f"about {clock_text(left)} left"
        return f"{status}; the limits allow the next request in {clock_text(wait)}" if wait >= 1 else status

    def _tightest(self) -> list[WindowUse]:
        """The window of the service, and one that adds up the windows of all addresses."""
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
    """Seconds that more requests take under one limit: free ones are sent at once, the rest a window at a time."""
    beyond = requests - max(0, window.limit - window.used)
    if beyond <= 0:
        return 0.0
    return window.next_free_in + (beyond - 1) // window.limit * window.period


def clock_text(seconds: float) -> str:
    """Format seconds as `7 s`, `4 min 05 s` or `2 h 03 min`."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02} s"
    return f"{total // 3600} h {total % 3600 // 60:02} min"


def bytes_text(size: int) -> str:
    """Format a number of bytes as `812 B` or `1.2 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
