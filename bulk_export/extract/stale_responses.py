"""Answers that a connection may have brought twice: what they were taken for is asked for again, on a new one."""

from __future__ import annotations

from collections.abc import Callable

from bulk_export.extract.response import Response
from bulk_export.extract.sweep import Sweep


class StaleResponses:
    """Remembers which pages have to be asked for on connections of their own, since an answer for them was an echo.

    A connection may show the same body for two pages because they hold the same. Where a new connection shows
    something else, answers do not belong to the requests before them, and `distrust` is called.
    """

    def __init__(self, distrust: Callable[[], None]) -> None:
        self._distrust = distrust
        self._have_strayed = False
        self._bodies: dict[tuple[int, int], int] = {}

    def is_alone(self, sweep: Sweep, page: int) -> bool:
        """Whether a page is to be asked for on a connection of its own."""
        return (id(sweep), page) in self._bodies or sweep.wants_certainty(page)

    def asks_again(self, answer: Response, sweep: Sweep, page: int) -> bool:
        """Whether an answer is not to be taken for a page, which is given back then, to be asked for once more."""
        before = self._bodies.pop((id(sweep), page), None)
        if before is not None and before != hash(answer.body):
            self._have_strayed = True
            self._distrust()
        sweep.may_be_answered_wrongly |= self._have_strayed
        if answer.is_echo:
            self._bodies[id(sweep), page] = hash(answer.body)
            sweep.plan.give_back(page)
        return answer.is_echo
