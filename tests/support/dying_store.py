"""A store in memory that several machines share, and a process that dies before or after a call to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.url import parse_store_url

ADDRESS = "s3://bucket/copy"


class Killed(BaseException):
    """What a process that is killed raises here, from then on at every call."""


class DyingStore(ObjectStore):
    """The objects at ADDRESS, for one process.

    Args:
        shared: The store of obstore, which others use, too.
        dies_at: The process dies at this step: 1 is before the first call, 2 after it, 3 before the second, and so on.
    """

    def __init__(self, shared: Any, dies_at: int | None = None) -> None:
        super().__init__(parse_store_url(ADDRESS), connected=shared)
        self._steps = 0
        self._dies_at = dies_at

    def is_public(self, key: str) -> bool:
        """Nobody else can read what is in memory."""
        return False

    def step(self) -> None:
        """Go on to the next step."""
        self._steps += 1
        if self._dies_at is not None and self._steps >= self._dies_at:
            raise Killed


def _dying(call: Callable[..., Any]) -> Callable[..., Any]:
    def made(self: DyingStore, *arguments: Any, **more: Any) -> Any:
        self.step()
        result = call(self, *arguments, **more)
        if call.__name__ in ("list", "stream"):
            result = iter(list(result))
        self.step()
        return result

    return made


for _name in ("read", "list", "stream", "status", "create", "replace", "upload", "remove"):
    setattr(DyingStore, _name, _dying(getattr(ObjectStore, _name)))
