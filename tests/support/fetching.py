"""Stand-ins for the rate limiter, the HTTP client and the receiver of pages, which record their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bulk_export.extract.page_fetcher import FetchedPage, PageReceiver
from bulk_export.extract.rate_limit import Permit, RequestOutcome
from bulk_export.extract.response import RequestFailed, Response


class Limiter:
    """Grants every permit. `outcomes` has the outcome of each, None for one that was throttled."""

    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome | None] = []

    async def acquire(self) -> Permit:
        return Permit(None, 0)

    def is_fresh(self, _permit: Permit) -> bool:
        return True

    async def release(self, _permit: Permit, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)

    async def report_throttled(self, _permit: Permit, **_headers: Any) -> float:
        self.outcomes.append(None)
        return 7.0


class Client:
    """Answers each request with what `answer` returns for its target."""

    def __init__(self, answer: Callable[[str], Response | RequestFailed | None]) -> None:
        self._answer = answer
        self.on_new_connection: list[bool] = []
        self.is_distrusted = False

    async def get_while(
        self, _may_send: Callable[[], bool], target: str, _source: str | None, **options: Any
    ) -> Response | RequestFailed | None:
        self.on_new_connection.append(options["on_new_connection"])
        return self._answer(target)

    def distrust(self) -> None:
        self.is_distrusted = True


class Receiver(PageReceiver):
    """Keeps the pages in memory."""

    def __init__(self) -> None:
        self.pages: dict[int, int] = {}
        self.retries = 0

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        self.pages.update((page.page, len(page.body.records)) for page in pages)

    def retried(self) -> None:
        self.retries += 1


def response(body: bytes = b"", status: int = 200, **fields: Any) -> Response:
    """Return a response with that body, uncompressed."""
    return Response(status, body, body, "identity", **fields)


def page_of(records: int, first: int = 0) -> bytes:
    """Return a body with some records, numbered from `first`."""
    listed = (b'{"id":"%d","type":"x","attributes":{}}' % (first + index) for index in range(records))
    return b'{"data":[' + b",".join(listed) + b"]}"
