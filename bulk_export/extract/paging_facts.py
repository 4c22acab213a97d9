"""What earlier sweeps found out about how an endpoint pages: knowledge that saves requests, and never decides alone.

It holds numbers only: page sizes and counts, no token and no record contents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

# How many last pages are remembered: an endpoint is asked with few page sizes and filters.
_MOST_CHECKED = 12
_LARGEST_NUMBER = 2**53
_FEWER_AT_LEAST, _FEWER_SHARE = 50, 0.1
_LOW_ROUND = frozenset({10, 20, 25, 30, 40})


def is_round(length: int, asked: int) -> bool:
    """Whether a page of `length` records may have been cut by a cap, by its look, where `asked` were asked for.

    Caps are multiples of 50; 10, 20, 25, 30 or 40; or powers of two from 16 on.
    """
    if not 0 < length < asked:
        return False
    is_power_of_two = length >= 16 and length & (length - 1) == 0
    return length % 50 == 0 or length in _LOW_ROUND or is_power_of_two


@dataclass(frozen=True, slots=True)
class PagingFacts:
    """What is known of one endpoint.

    `longest` is the longest page ever seen, `clamp` the size to which larger ones were cut. `checked` holds pairs of
    a page size that was asked for and the length of a last page behind which there was nothing. `records` is how many
    records the last sweep without filters found. `first` and `style` were found out where a description leaves open
    how pages are counted.
    """

    longest: int = 0
    clamp: int | None = None
    checked: tuple[tuple[int, int], ...] = ()
    records: int | None = None
    first: int | None = None
    style: Literal["pages", "offset"] | None = None

    def believes(self, *, asked: int, length: int, found: int) -> bool:
        """Whether a page shorter than asked for is the last one without asking for the next.

        `found` is the number of records up to its end. A page of a usual cap's length is believed where longer ones
        are known to come and one of this length was checked before: alone, that says only that the list held no more
        then. A page of another length is believed where it was checked before, where longer ones are known to come,
        or where just as many records were found the last time. None is where more records were found then.
        """
        if self.records is not None and found < self.records:
            return False
        was_checked, is_shorter = (asked, length) in self.checked, length < self.longest
        if is_round(length, asked):
            return was_checked and is_shorter
        return was_checked or is_shorter or found == self.records

    def far_fewer(self, found: int) -> bool:
        """Whether `found` records are so many fewer than the last time that it is worth saying."""
        if self.records is None or found >= self.records:
            return False
        return self.records - found >= max(_FEWER_AT_LEAST, _FEWER_SHARE * self.records) or 2 * found <= self.records

    def with_checked(self, asked: int, length: int) -> PagingFacts:
        """The same, knowing that a last page of this length has nothing behind it."""
        others = tuple(pair for pair in self.checked if pair != (asked, length))
        return replace(self, checked=(*others, (asked, length))[-_MOST_CHECKED:])

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> PagingFacts:
        """Read what `to_text` wrote. Anything else is no knowledge, which costs requests and never a record."""
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                return cls()
            checked = found.get("checked", [])
            style = found.get("style")
            return cls(
                longest=_number(found.get("longest")) or 0,
                clamp=_number(found.get("clamp")),
                checked=tuple((_certain(asked), _certain(length)) for asked, length in checked)[-_MOST_CHECKED:],
                records=_number(found.get("records")),
                first=_number(found.get("first")),
                style=style if style in ("pages", "offset") else None,
            )
        except (ValueError, TypeError, RecursionError):
            return cls()


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_NUMBER else None


def _certain(value: Any) -> int:
    if (number := _number(value)) is None:
        raise ValueError
    return number


def sweep_state_name(endpoint: str, sweep: int) -> str:
    """Return the name under which a journal keeps the `state` of a sweep."""
    return f"paging/{endpoint}/{sweep}"


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
