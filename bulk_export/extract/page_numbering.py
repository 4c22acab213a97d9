"""How pages are numbered in requests: the URL of a page, and the search for a numbering that is not described.

A description may leave open whether the first page has number 0 or 1, and whether the number counts pages or records
(an offset). Then two numbers are requested, and the responses are compared:

1. Numbers 0 and 1 bring the same records: the first page has number 1, and 0 is another name for it.
2. Number 0 brings an error or nothing, and 1 brings records: the first page has number 1.
3. Anything else: numbers count from 0.
4. If it is open whether pages or records are counted: records, if the second response begins with the second record of
   the first one and continues like it; otherwise pages.

A wrong guess costs requests and shows records twice, but leaves none out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from bulk_export.core.model import Endpoint, Paging
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.transform.decode import content_of

Stored = TypeVar("Stored")
# The statuses that services send for a page that does not exist.
NO_SUCH_PAGE = frozenset({204, 400, 404, 416, 422})
_SERVER_ERROR = 500


def page_target(
    endpoint: Endpoint,
    page: int,
    page_size: int,
    filters: Sequence[tuple[str, str]] = (),
    *,
    position: int | None = None,
) -> str:
    """Return path and query for one page, percent-encoded, with the sort that makes the order total.

    Args:
        endpoint: What is requested, with the numbering that applies.
        page: The page, counted from 1 whatever numbers the service uses.
        page_size: The number of records to ask for.
        filters: Pairs of a filter's name and value.
        position: The offset of the page's first record, from 0, if it does not follow from `page`.
    """
    paging = endpoint.paging
    before, after = _around_number(endpoint.path, paging, endpoint.sort, page_size, tuple(filters))
    if paging.style == "none":
        return before
    if position is None:
        position = (page - 1) * (page_size if paging.style == "offset" else 1)
    return f"{before}{paging.first + position}{after}"


@functools.lru_cache(maxsize=256)
def _around_number(
    path: str, paging: Paging, sort: str | None, page_size: int, filters: tuple[tuple[str, str], ...]
) -> tuple[str, str]:
    """Return the target before and after the page number. Cached: encoding takes a tenth of the time of a request."""
    parameters = [(paging.size, str(page_size))] if paging.style != "none" and paging.size else []
    if sort is not None:
        parameters.append((paging.sort, sort))
    parameters.extend((paging.filter.replace("{name}", key), value) for key, value in filters)
    encoded = functools.partial(urlencode, quote_via=quote, safe=",:")
    if paging.style != "none":
        return f"{quote(path)}?{encoded({paging.number: ''})}", f"&{encoded(parameters)}" if parameters else ""
    return f"{quote(path)}?{encoded(parameters)}" if parameters else quote(path), ""


def loggable_target(target: str, paging: Paging) -> str:
    """Return a page's path and query for a log. Only page number and size are logged with their values.

    Other values, those of filters, may be about people or identify records.
    """
    path, _, query = target.partition("?")
    shown = {paging.number, paging.size} if paging.style != "none" else set()
    parameters = [
        f"{name}={value}" if name in shown else f"{name}=..."
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{path}?{'&'.join(parameters)}" if parameters else path


@dataclass(frozen=True, slots=True)
class _Received(Generic[Stored]):
    """The records that a number brought, and the response to store; both are None for an error."""

    records: Sequence[bytes] | None
    response: Stored | None


class PageNumbering(Generic[Stored]):
    """How the pages of one endpoint are numbered, and the search for it while that is open.

    `endpoint` is the endpoint with the numbering as far as it is known.
    """

    def __init__(self, endpoint: Endpoint, known: PagingFacts) -> None:
        paging = endpoint.paging
        first, style = paging.first, paging.style
        self._is_first_open = not paging.first_is_known and style != "none"
        self._is_style_open = not paging.style_is_known and style != "none"
        self._learns = self._is_first_open or self._is_style_open
        if self._is_first_open and known.first is not None:
            first, self._is_first_open = known.first, False
        if self._is_style_open and known.style is not None:
            style, self._is_style_open = known.style, False
        self._numbers = (0, 1) if self._is_first_open else (first, first + 1)
        self._received: dict[int, _Received[Stored]] = {}
        self._repeats_lower = False
        self.endpoint = _numbered(endpoint, first, style)

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet how pages are numbered."""
        return self._is_first_open or self._is_style_open

    def is_answer(self, status: int) -> bool:
        """Whether an error status can be the answer for the number that is requested now, rather than trouble.

        The lower number may have no page. If it has one, the upper number may have none.
        """
        if not self.is_open:
            return False
        lower = self._numbers[0]
        if self._number == lower:
            return self._is_first_open and (status in NO_SUCH_PAGE or status >= _SERVER_ERROR)
        before = self._received.get(lower)
        return status in NO_SUCH_PAGE and before is not None and before.records is not None

    def endpoint_to_request(self) -> Endpoint:
        """Return the endpoint with the numbering in which the next number to try is that of the first page."""
        if not self.is_open:
            return self.endpoint
        # By number: by position, the second number would be multiplied.
        return _numbered(self.endpoint, self._number, self.endpoint.paging.style)

    def record_response(self, records: Sequence[bytes] | None, response: Stored | None) -> list[tuple[int, Stored]]:
        """Record the response for the number that was last requested, None for an error.

        Returns:
            The pages that are certain now, with their numbers from 1; none while another request is needed.
        """
        lower, upper = self._numbers
        self._received[self._number] = _Received(records, response)
        if self._repeats_lower:
            self._repeats_lower = False
        elif upper not in self._received:
            return []
        elif self._received[lower].records is None:
            # The service may have been out of order for a moment.
            self._repeats_lower = True
            return []
        return self._settle(self._received[lower], self._received[upper])

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue with the numbering that an earlier run found."""
        if "first" in state:
            self._conclude(int(state["first"]), str(state["style"]))

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes; empty if the description leaves nothing open."""
        if not self._learns or self.is_open:
            return {}
        return {"first": self.endpoint.paging.first, "style": self.endpoint.paging.style}

    def learned(self, facts: PagingFacts) -> PagingFacts:
        """Return the facts with what was found out here."""
        paging = self.endpoint.paging
        if not self._learns or self.is_open or paging.style == "none":
            return facts
        return replace(facts, first=paging.first, style=paging.style)

    @property
    def _number(self) -> int:
        lower, upper = self._numbers
        return lower if self._repeats_lower or lower not in self._received else upper

    def _settle(self, lower: _Received[Stored], upper: _Received[Stored]) -> list[tuple[int, Stored]]:
        first, second = self._numbers
        style = self.endpoint.paging.style
        pages: list[tuple[int, _Received[Stored]]] = [(1, lower)]
        is_same = content_of(lower.records or ()) == content_of(upper.records or ())
        is_empty_list = lower.records is not None and not lower.records and upper.records is None
        # Cases 1 and 2: the first page has the second number.
        if self._is_first_open and not is_empty_list and (not lower.records or is_same):
            first, pages = second, [(1, upper)]
        # Cases 3 and 4: the first page has the first number, and the second response may be the second page.
        elif upper.records and not is_same:
            if self._is_style_open:
                style = "offset" if _is_one_further(lower.records or (), upper.records) else "pages"
            if style == "pages":
                pages.append((2, upper))
        self._conclude(first, style)
        return [(page, received.response) for page, received in pages if received.response is not None]

    def _conclude(self, first: int, style: str) -> None:
        self.endpoint = _numbered(self.endpoint, first, style)
        self._is_first_open = self._is_style_open = False
        self._received = {}


def _is_one_further(lower: Sequence[bytes], upper: Sequence[bytes]) -> bool:
    """Whether a response begins with the second record of another one and continues like it.

    If ties come in a different order each time, it may not, although records are counted. Then overlapping pages cost
    requests. The opposite mistake, offsets sent to a service that expects page numbers, would miss records.
    """
    return len(lower) > 1 and list(lower[1:]) == list(upper[: len(lower) - 1])


def _numbered(endpoint: Endpoint, first: int, style: str) -> Endpoint:
    paging = endpoint.paging
    if (first, style) == (paging.first, paging.style):
        return endpoint
    return replace(endpoint, paging=replace(paging, first=first, style=style))  # type: ignore[arg-type]  # one of three
