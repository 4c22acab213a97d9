"""One pass over one endpoint: its plan, what is asked of the service, and what came back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bulk_export.errors import ServiceFailing
from bulk_export.fetch import page_target
from bulk_export.model import Endpoint, PageKey
from bulk_export.page_plan import EndpointPlan

# Far beyond any real endpoint: it ends a service that makes up new records for ever.
_MOST_PAGES = 5_000_000
# Three different pages with the same many records are one page served again; single records may repeat more.
_SAME_PAGE_TWICE_OVER = 3
_SAME_RECORD_OFTEN = 20


class Sweep:
    """The pages of `endpoint` with `page_size` records each, filtered. `number` is 0 for the first pass."""

    def __init__(
        self, endpoint: Endpoint, *, number: int, page_size: int, stride: int, filters: Sequence[tuple[str, str]]
    ) -> None:
        self.endpoint = endpoint
        self.number = number
        self.page_size = page_size
        self.plan = EndpointPlan(page_size, stride)
        self.horizon: int | None = None
        self._filters = filters
        self._alike: Counter[tuple[int, int, int]] = Counter()

    def again(self, number: int, page_size: int) -> Sweep:
        """A further pass over the same records, one page after the other."""
        return Sweep(self.endpoint, number=number, page_size=page_size, stride=1, filters=self._filters)

    def key(self, page: int) -> PageKey:
        """The name of a page of this sweep."""
        return PageKey(self.endpoint.name, self.number, page)

    def target(self, page: int) -> str:
        """Path and query that ask for a page."""
        return page_target(self.endpoint, page, self.page_size, self._filters)

    def inspect(self, page: int, records: Sequence[bytes]) -> None:
        """Raise ServiceFailing where the service serves one page for ever, whatever is asked for."""
        if page > _MOST_PAGES:
            raise ServiceFailing(
                f"{self.endpoint.name} has no end: page {page} still holds records.",
                kept="Every page stored so far is kept.",
                next_step="Check the address of the service, or raise --page-size.",
            )
        if not records:
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
