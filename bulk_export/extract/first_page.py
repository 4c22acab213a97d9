"""Where a description leaves open how pages are counted: two numbers are asked for, once, and what they show compared.

Number 0 and number 1 show the same records where the first page has number 1 and 0 stands for it, too; number 0 is
an error or empty where there is none; and anything else means that pages count from 0. Where it is not known whether
the number counts pages or records, the second answer begins with the second record of the first one, and goes on as
that does, if it counts records.
A wrong guess costs requests and shows records twice, but leaves none out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from bulk_export.core.model import Endpoint
from bulk_export.extract.paging_facts import PagingFacts

Stored = TypeVar("Stored")
# Statuses with which services answer to a page that there is not.
NO_SUCH_PAGE = frozenset({204, 400, 404, 416, 422})
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class _Shown(Generic[Stored]):
    """What came for a number: the records, and the answer as it is to be stored. None of both for an error."""

    records: Sequence[bytes] | None
    answer: Stored | None


class FirstPage(Generic[Stored]):
    """How the pages of one endpoint are counted, and the search for it where that is open."""

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
        self._shown: dict[int, _Shown[Stored]] = {}
        self._asks_again = False
        self.endpoint = _counted(endpoint, first, style)

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet how pages are counted."""
        return self._is_first_open or self._is_style_open

    def is_answer(self, status: int) -> bool:
        """Whether an error status says something about the number that is asked for now.

        There may be no page of the lower number, and none of the upper one where the lower one has one.
        """
        if not self.is_open:
            return False
        lower = self._numbers[0]
        if self._number == lower:
            return self._is_first_open and (status in NO_SUCH_PAGE or status >= _SERVER_ERROR)
        before = self._shown.get(lower)
        return status in NO_SUCH_PAGE and before is not None and before.records is not None

    def asked(self) -> Endpoint:
        """The endpoint, counted as the next request is to count."""
        if not self.is_open:
            return self.endpoint
        # By number: by position, the second number would be multiplied.
        return _counted(self.endpoint, self._number, self.endpoint.paging.style)

    def answered(self, records: Sequence[bytes] | None, answer: Stored | None) -> list[tuple[int, Stored]]:
        """Take in what the number last asked for shows, None for an error.

        Returns the pages that are known by that, with their numbers from 1: none while another request is needed.
        """
        lower, upper = self._numbers
        self._shown[self._number] = _Shown(records, answer)
        if self._asks_again:
            self._asks_again = False
        elif upper not in self._shown:
            return []
        elif self._shown[lower].records is None:
            # The service may have been out of order for a moment.
            self._asks_again = True
            return []
        return self._settle(self._shown[lower], self._shown[upper])

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as an earlier run counted."""
        if "first" in state:
            self._conclude(int(state["first"]), str(state["style"]))

    def state(self) -> dict[str, Any]:
        """What `restore` takes, nothing where the description says it all."""
        if not self._learns or self.is_open:
            return {}
        return {"first": self.endpoint.paging.first, "style": self.endpoint.paging.style}

    def learned(self, facts: PagingFacts) -> PagingFacts:
        """The facts with what was found out here."""
        paging = self.endpoint.paging
        if not self._learns or self.is_open or paging.style == "none":
            return facts
        return replace(facts, first=paging.first, style=paging.style)

    @property
    def _number(self) -> int:
        lower, upper = self._numbers
        return lower if self._asks_again or lower not in self._shown else upper

    def _settle(self, lower: _Shown[Stored], upper: _Shown[Stored]) -> list[tuple[int, Stored]]:
        first, second = self._numbers
        style = self.endpoint.paging.style
        shown: list[tuple[int, _Shown[Stored]]] = [(1, lower)]
        is_same = content_of(lower.records or ()) == content_of(upper.records or ())
        is_empty_list = lower.records is not None and not lower.records and upper.records is None
        if self._is_first_open and not is_empty_list and (not lower.records or is_same):
            first, shown = second, [(1, upper)]
        elif upper.records and not is_same:
            if self._is_style_open:
                style = "offset" if _is_one_further(lower.records or (), upper.records) else "pages"
            if style == "pages":
                shown.append((2, upper))
        self._conclude(first, style)
        return [(page, one.answer) for page, one in shown if one.answer is not None]

    def _conclude(self, first: int, style: str) -> None:
        self.endpoint = _counted(self.endpoint, first, style)
        self._is_first_open = self._is_style_open = False
        self._shown = {}


def content_of(records: Sequence[bytes]) -> int:
    """The same for pages that hold the same records, in whatever order: ties may come in another one each time."""
    return hash((len(records), sum(map(hash, records))))


def _is_one_further(lower: Sequence[bytes], upper: Sequence[bytes]) -> bool:
    """Whether an answer begins with the second record of another one and goes on as that does.

    Where ties come in another order each time, it may not, although positions are counted: pages that overlap cost
    requests then, where positions taken for pages would leave records out.
    """
    return len(lower) > 1 and list(lower[1:]) == list(upper[: len(lower) - 1])


def _counted(endpoint: Endpoint, first: int, style: str) -> Endpoint:
    paging = endpoint.paging
    if (first, style) == (paging.first, paging.style):
        return endpoint
    return replace(endpoint, paging=replace(paging, first=first, style=style))  # type: ignore[arg-type]  # one of three
