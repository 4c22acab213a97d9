"""One pass over one endpoint: its plan, what is asked of the service, and what came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from bulk_export.decode import Arrangement
from bulk_export.errors import ServiceFailing
from bulk_export.fetch import page_target
from bulk_export.model import Endpoint, PageKey
from bulk_export.page_plan import EndpointPlan, WholePlan

# Far beyond any real endpoint: it ends a service that makes up new records for ever.
_MOST_PAGES = 5_000_000
# Three different pages with the same many records are one page served again; single records may repeat more.
_SAME_PAGE_TWICE_OVER = 3
_SAME_RECORD_OFTEN = 20


class Sweep:
    """The pages of `endpoint` with `page_size` records each, filtered. `number` is 0 for the first pass.

    If it `proves_end`, a page shorter than asked for is not taken for the last one: an empty one has to follow.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        number: int,
        page_size: int,
        stride: int,
        filters: Sequence[tuple[str, str]],
        proves_end: bool = False,
    ) -> None:
        largest = endpoint.paging.largest
        page_size = min(page_size, largest or page_size)
        self.endpoint = endpoint
        self.number = number
        self.page_size = page_size
        self.arrangement = Arrangement(endpoint)
        self.proves_end = proves_end
        self.plan = _plan(endpoint, page_size, stride, proves_end=proves_end)
        self.horizon: int | None = None
        self._filters = filters
        self._alike: Counter[tuple[int, int, int]] = Counter()
        self._first_seen: dict[int, int] = {}

    def again(self, number: int, page_size: int, *, proves_end: bool = False) -> Sweep:
        """A further pass over the same records, one page after the other."""
        return Sweep(
            self.endpoint,
            number=number,
            page_size=page_size,
            stride=1,
            filters=self._filters,
            proves_end=proves_end,
        )

    def key(self, page: int) -> PageKey:
        """The name of a page of this sweep."""
        return PageKey(self.endpoint.name, self.number, page)

    def target(self, page: int) -> str:
        """Path and query that ask for a page."""
        # By position, every page has to begin where the one before ends; by number, the service cuts.
        size = self.plan.page_size if self.endpoint.paging.style == "offset" else self.page_size
        return page_target(self.endpoint, page, size, self._filters)

    def restore(self, counts: Iterable[tuple[int, int]], body: Callable[[PageKey], bytes]) -> None:
        """Take in `(page, records)` pairs that an earlier run stored; `body` gives what it stored."""
        self.plan.restore(counts := list(counts))
        if not self.plan.is_exact:
            for page, records in counts:
                if records:
                    self._note(page, self.arrangement.split(body(self.key(page))))

    def inspect(self, page: int, records: Sequence[bytes]) -> None:
        """Raise ServiceFailing where the service serves one page for ever, whatever is asked for."""
        if page > _MOST_PAGES:
            raise ServiceFailing(
                f"{self.endpoint.name} has no end: page {page} still holds records.",
                kept="Every page stored so far is kept.",
                next_step="Check the address of the service, or raise --page-size.",
            )
        if not records or self.endpoint.paging.style == "none" or self._may_repeat(records):
            return
        alike = (len(records), hash(records[0]), hash(records[-1]))
        self._alike[alike] += 1
        bound = _SAME_PAGE_TWICE_OVER if len(records) > 1 else _SAME_RECORD_OFTEN
        if self._alike[alike] >= bound:
            raise ServiceFailing(
                f"{self.endpoint.name} answers with the same page again and again (page {page} among them).",
                kept="Every page stored so far is kept.",
                next_step="Check that the address belongs to this service: it does not heed the page number.",
            )

    def came_back(self, page: int, records: Sequence[bytes]) -> bool:
        """A page is durable. Whether it only repeats the first page, which is then taken for the only one."""
        self.plan.came_back(page, len(records))
        return not self.plan.is_exact and self._note(page, records)

    def _may_repeat(self, records: Sequence[bytes]) -> bool:
        """Whether a repetition of such a page is a way to say that there is nothing more.

        Of a page as full as was asked for, the first one, it says that the number of the page is not heeded;
        and a single record is shown twice whenever data change.
        """
        if self.plan.is_exact or len(records) <= 1:
            return False
        is_first = self._first_seen.get(hash(tuple(records))) == 1
        return not (is_first and len(records) >= self.page_size)

    def _note(self, page: int, records: Sequence[bytes]) -> bool:
        content = hash(tuple(records))
        seen = self._first_seen.setdefault(content, page)
        if seen == page or not self._may_repeat(records):
            return False
        self._first_seen[content] = min(seen, page)
        self.plan.repeats(max(seen, page))
        return min(seen, page) == 1


def _plan(endpoint: Endpoint, page_size: int, stride: int, *, proves_end: bool) -> EndpointPlan:
    if endpoint.paging.style == "none":
        return WholePlan(page_size)
    return EndpointPlan(page_size, stride, is_exact=endpoint.paging.largest is not None and not proves_end)
