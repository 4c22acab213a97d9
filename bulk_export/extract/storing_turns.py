"""The order in which the responses of one sweep are stored.

Whether a response is to be stored depends on all that were recorded before. While it is being stored, others may be
recorded. For a page that arrives for the first time that does no harm: if another page turns out to hold the same, it
is stored, and counts as empty. But a page that takes the place of a stored one may turn out not to be wanted when the
stored one is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bulk_export.core.notifier import Notifier


class StoringTurns:
    """Lets responses be judged, stored and recorded side by side, but alone if they may replace a stored page."""

    def __init__(self) -> None:
        self._storing = 0
        self._waiting_alone = 0
        self._is_alone = False
        self._changed = Notifier()

    @asynccontextmanager
    async def turn(self, may_replace: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait until a response may be judged, stored and recorded; other responses wait for its end if they must.

        Args:
            may_replace: Whether a response to this page is stored now. It is asked again after each wait.
        """
        alone = await self._begin(may_replace)
        try:
            yield
        finally:
            self._storing -= 1
            self._is_alone &= not alone
            self._changed.notify_all()

    async def _begin(self, may_replace: Callable[[], bool]) -> bool:
        while True:
            if may_replace():
                if not self._storing:
                    self._storing, self._is_alone = 1, True
                    return True
                self._waiting_alone += 1
                try:
                    await self._changed.wait()
                except BaseException:
                    # It was cancelled: those that let it pass look again.
                    self._changed.notify_all()
                    raise
                finally:
                    self._waiting_alone -= 1
            elif self._is_alone or self._waiting_alone:
                await self._changed.wait()
            else:
                self._storing += 1
                return False
