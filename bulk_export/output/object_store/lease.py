"""A lease on an address: one sync at a time works there, on whatever machine.

It is an object that is only ever changed under a condition. Its holder renews it. Whoever sees it unchanged for
`expires` seconds, by a clock of its own, may take it, so that the clocks of two machines are never compared. A holder
that could not renew it for `stops` seconds writes nothing more. Should one wake up later all the same, the conditions
of what it writes keep two of them from mixing.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bulk_export.errors import BulkExportError, DirectoryInUse, LocalFailure
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.output.object_store.claim import require_conditions
from bulk_export.output.object_store.failures import ObjectChanged, ObjectExists, ObjectMissing
from bulk_export.output.object_store.store import ObjectStore

LEASE = f"{WORKING_DIRECTORY}/lease.json"
_LARGEST = 64 * 1024
_FREE = ""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a lease lasts, in seconds.

    Attributes:
        expires: After so long without a renewal others may take it.
        stops: After so long, which is much sooner, its holder writes nothing more.
        renew: The time between two renewals.
        look: The time between two looks at the lease of another sync.
    """

    expires: float = 180
    stops: float = 90
    renew: float = 20
    look: float = 5


class Lease:
    """The lease of one sync. All methods block, and may be called by several threads.

    Args:
        store: The objects at the address.
        holder: Identifies the working directory, which is locked, so that a killed run there is followed at once.
        times: How long it lasts.
        clock: Seconds of a clock that is never set.
    """

    def __init__(
        self,
        store: ObjectStore,
        holder: str,
        times: LeaseTimes | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._holder = holder
        self._times = times or LeaseTimes()
        self._clock = clock
        self._lock = threading.Lock()
        self._version = ""
        self._renewed = 0.0
        self._is_held = False
        self._watched: tuple[str, float] | None = None

    def take(self) -> bool:
        """Take the lease if it is free, or its holder is gone. False while that is to be seen: call again later.

        Raises:
            DirectoryInUse: Another sync renewed it meanwhile.
            BulkExportError: The store rejects it, or ignores conditions.
        """
        found = self._store.read(LEASE, most=_LARGEST)
        if found is None:
            return self._taken("")
        content, version = found
        if _holder_of(content) not in (_FREE, self._holder):
            now = self._clock()
            if self._watched is None:
                self._watched = (version, now)
            seen, since = self._watched
            if seen != version:
                raise DirectoryInUse(
                    f"Another sync is under way at {self._store.url}.",
                    kept="Nothing was changed.",
                    next_step="Let it finish, or stop it first.",
                )
            if now - since < self._times.expires:
                return False
        return self._taken(version)

    def renew(self) -> None:
        """Renew the lease. Raises LocalFailure if another sync has it, and BulkExportError."""
        with self._lock:
            if self._is_held and not self._write(self._holder, self._version):
                self._is_held = False
        self.require()

    def require(self) -> None:
        """Raise LocalFailure unless the lease is held, with time to spare."""
        if not self._is_held or self._clock() - self._renewed > self._times.stops:
            raise LocalFailure(
                f"This sync could not keep other machines from {self._store.url}, so it stopped.",
                kept="What it fetched is kept on this machine.",
                next_step="Run the same command again.",
            )

    def release(self) -> None:
        """Give the lease back, unless another sync has it. It expires if the store cannot be reached."""
        with self._lock:
            if self._is_held:
                self._is_held = False
                with contextlib.suppress(BulkExportError):
                    self._write(_FREE, self._version)

    def _taken(self, version: str) -> bool:
        with self._lock:
            self._is_held = self._write(self._holder, version)
            if self._is_held:
                require_conditions(self._store, LEASE, self._content(self._holder), replaces=True)
        return self._is_held

    def _write(self, holder: str, version: str) -> bool:
        """Write the lease in place of a version, the empty one for none. Whether that worked."""
        content, begun = self._content(holder), self._clock()
        try:
            if version:
                self._version = self._store.replace(LEASE, content, version).version
            else:
                self._version = self._store.create(LEASE, content).version
        except (ObjectExists, ObjectChanged, ObjectMissing):
            # A request whose answer was lost, and that was repeated, fails on what it wrote itself.
            found = self._store.read(LEASE, most=_LARGEST)
            if found is None or found[0] != content:
                return False
            self._version = found[1]
        self._renewed = begun
        return True

    def _content(self, holder: str) -> bytes:
        return json.dumps({"holder": holder, "renewal": secrets.token_hex(16)}).encode() + b"\n"


def _holder_of(content: bytes) -> str:
    """Who holds a lease; a name that nobody has if it cannot be read, so that it has to expire."""
    try:
        return str(json.loads(content)["holder"])
    except (ValueError, KeyError, TypeError):
        return "unknown"
