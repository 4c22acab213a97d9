"""Facts about how an endpoint pages: remembered across runs (`PagingFacts`), and across interruptions (sweep state).

Facts save requests, and never decide alone. They hold numbers only: page sizes and counts, no token and no record
contents. The state of a sweep is kept in the journal, beside its pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

# The number of last pages to remember: an endpoint is requested with few page sizes and filters.
_MOST_CHECKED = 12
_LARGEST_NUMBER = 2**53
_FEWER_AT_LEAST, _FEWER_SHARE = 50, 0.1
_LOW_ROUND = frozenset({10, 20, 25, 30, 40})


def is_round(length: int, asked: int) -> bool:
    """Whether `length` is a usual cap on the records of a page, below the `asked` ones.

    Usual caps are multiples of 50; 10, 20, 25, 30 or 40; and powers of two from 16 on.

    >>> is_round(100, 3_000), is_round(99, 3_000), is_round(100, 100)
    (True, False, False)
    """
    if not 0 < length < asked:
        return False
    is_power_of_two = length >= 16 and length & (length - 1) == 0
    return length % 50 == 0 or length in _LOW_ROUND or is_power_of_two


@dataclass(frozen=True, slots=True)
class PagingFacts:
    """The facts about one endpoint. Stored as JSON with these names.

    Attributes:
        longest: The length of the longest page ever seen.
        clamp: The length to which longer pages were cut, None if they were not cut.
        checked: Pairs of a requested page size and the length of a last page, behind which no records were found.
        records: How many records the last sweep without filters found.
        first: The number of the first page, if the description leaves it open.
        style: Whether numbers count pages or records, if the description leaves it open.
    """

    longest: int = 0
    clamp: int | None = None
    checked: tuple[tuple[int, int], ...] = ()
    records: int | None = None
    first: int | None = None
    style: Literal["pages", "offset"] | None = None

    def believes(self, *, asked: int, length: int, found: int) -> bool:
        """Whether a page that is shorter than requested counts as the last one without a request for the next one.

        1. Not if the last sweep found more records.
        2. A page with the length of a usual cap counts if the last page had this length before, and the service is
           known to send longer pages. The first condition alone shows only that the list held no more records then.
        3. A page of any other length counts if one of these conditions holds, or if the last sweep found exactly as
           many records.

        Args:
            asked: The page size asked for.
            length: The length of the page.
            found: The number of records up to its end.
        """
        if self.records is not None and found < self.records:
            return False
        was_checked, is_shorter = (asked, length) in self.checked, length < self.longest
        if is_round(length, asked):
            return was_checked and is_shorter
        return was_checked or is_shorter or found == self.records

    def far_fewer(self, found: int) -> bool:
        """Whether `found` records are so many fewer than in the last sweep that users should know."""
        if self.records is None or found >= self.records:
            return False
        return self.records - found >= max(_FEWER_AT_LEAST, _FEWER_SHARE * self.records) or 2 * found <= self.records

    def after_sweep(self, *, longest: int, clamp: int | None, records: int | None) -> PagingFacts:
        """Return the facts after a further sweep.

        1. Pages were cut: the facts about longer pages no longer hold.
        2. No page was cut, and one was longer than the known clamp: the clamp is gone.
        3. No page was cut, and none was longer: the facts stay.

        Args:
            longest: The length of its longest page.
            clamp: The length to which it found pages cut, None if they were not.
            records: How many records it found, None if it was filtered.
        """
        if clamp is not None:
            return PagingFacts(longest=clamp, clamp=clamp, records=records, first=self.first, style=self.style)
        return replace(
            self,
            longest=max(self.longest, longest),
            clamp=None if self.clamp is None or longest > self.clamp else self.clamp,
            records=self.records if records is None else records,
        )

    def with_checked(self, asked: int, length: int) -> PagingFacts:
        """Return the facts with one more: nothing follows a last page of this length."""
        others = tuple(pair for pair in self.checked if pair != (asked, length))
        return replace(self, checked=(*others, (asked, length))[-_MOST_CHECKED:])

    def to_text(self) -> str:
        """Return JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> PagingFacts:
        """Parse what `to_text` returned. Any other text gives empty facts, which costs requests but no record."""
        try:
            facts = json.loads(text)
            if not isinstance(facts, dict):
                return cls()
            checked = facts.get("checked", [])
            style = facts.get("style")
            return cls(
                longest=_number(facts.get("longest")) or 0,
                clamp=_number(facts.get("clamp")),
                checked=tuple((_required(asked), _required(length)) for asked, length in checked)[-_MOST_CHECKED:],
                records=_number(facts.get("records")),
                first=_number(facts.get("first")),
                style=style if style in ("pages", "offset") else None,
            )
        except (ValueError, TypeError, RecursionError):
            return cls()


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_NUMBER else None


def _required(value: Any) -> int:
    if (number := _number(value)) is None:
        raise ValueError
    return number


def parse_sweep_state(text: str) -> Mapping[str, Any]:
    """Parse what `Sweep.state` returned. Raises ValueError, TypeError, KeyError or AttributeError for other texts."""
    facts = json.loads(text)
    plan = facts["plan"]
    numbers = [*map(int, plan["answers"]), *plan["answers"].values()]
    numbers += [facts.get("first") or 0, plan["looked_behind"] or 0]
    switches = (facts["only_first_page"], facts["suspicious_end"], facts["stray_answers"])
    if not all(type(number) is int and 0 <= number < _LARGEST_NUMBER for number in numbers):
        raise ValueError("no numbers of pages")
    if not all(type(switch) is bool for switch in (*switches, plan["clamp_checked"], plan["raised"])):
        raise TypeError("neither true nor false")
    if facts.get("style", "pages") not in ("pages", "offset"):
        raise ValueError("no way to ask for pages")
    return dict(facts)
