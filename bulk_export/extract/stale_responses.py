"""Responses that may belong to an earlier request on the same connection: their pages are requested again on new ones.

If a proxy or the service sends one response too many on a kept connection, each later one on it is attributed to the
wrong request. The client notices a body that the connection brought before for another target (an echo). Then:

1. The page of an echo is released, and requested again on a new connection.
2. The new connection brings the same body: the two pages hold the same, and nothing is wrong.
3. It brings another body: responses do not belong to their requests. From then on no connection is used twice, and
   every sweep is marked as possibly answered wrongly, so that its end is verified.
"""

from __future__ import annotations

from collections.abc import Callable

from bulk_export.core.model import PageKey
from bulk_export.extract.response import Response
from bulk_export.extract.sweep import Sweep


class StaleResponses:
    """Remembers the pages whose last response was an echo.

    `distrust` is called when the second response for such a page differs from the first.
    """

    def __init__(self, distrust: Callable[[], None]) -> None:
        self._distrust = distrust
        self._have_strayed = False
        self._echoed_bodies: dict[PageKey, int] = {}

    def needs_new_connection(self, sweep: Sweep, page: int) -> bool:
        """Whether a page has to be requested on a new connection."""
        return sweep.key(page) in self._echoed_bodies or sweep.needs_new_connection(page)

    def must_request_again(self, response: Response, sweep: Sweep, page: int) -> bool:
        """Return whether a response must not be used. If so, its page is released, to be requested again."""
        key = sweep.key(page)
        echoed = self._echoed_bodies.pop(key, None)
        if echoed is not None and echoed != hash(response.body):
            self._have_strayed = True
            self._distrust()
        sweep.may_be_answered_wrongly |= self._have_strayed
        if response.is_echo:
            self._echoed_bodies[key] = hash(response.body)
            sweep.plan.release(page)
        return response.is_echo
