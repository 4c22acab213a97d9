"""A generation of an address for one run alone, by an object that is created only if it is not there yet.

A claim locks nothing: other runs take the next generation, and whoever is the first to write the manifest has finished.
So a machine that was lost keeps nobody from an address, and two that work at once never write the same object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulk_export.errors import DamagedState, StoreAccessDenied, StoreRefused
from bulk_export.output.file_names import is_endpoint
from bulk_export.output.object_store.failures import ObjectChanged, ObjectExists
from bulk_export.output.object_store.layout import MOST_GENERATIONS, claim_key, parse_key
from bulk_export.output.object_store.store import ObjectStore

_LARGEST = 64 * 1024 * 1024
# Unfinished runs at one address before a person should look at it.
_MOST_CLAIMS = 1000
# Nothing has this ETag, nor this number of a version.
_NO_VERSION = "9" * 18


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a generation.

    Attributes:
        generation: Its number.
        run: Identifies the run, across interruptions.
        started_at: When the run began, in UTC.
        endpoints: The endpoints whose parts the run may write.
        replaces: The keys of the export that the run replaces.
    """

    generation: int
    run: str
    started_at: str
    endpoints: Sequence[str] = ()
    replaces: Sequence[str] = field(default=(), repr=False)

    @property
    def content(self) -> bytes:
        """The content of its object."""
        values = {
            "run": self.run,
            "started_at": self.started_at,
            "endpoints": list(self.endpoints),
            "replaces": list(self.replaces),
        }
        return json.dumps(values, indent=2).encode() + b"\n"


def claim_generation(
    store: ObjectStore,
    after: int,
    *,
    run: str,
    started_at: str,
    endpoints: Sequence[str],
    replaces: Sequence[str],
) -> tuple[Claim, list[Claim]]:
    """Claim the first generation after `after` that nobody has claimed; again the same one after an interruption.

    Args:
        store: The store.
        after: The generation of the export that is there, 0 without one.
        run: Identifies the run.
        started_at: When it began.
        endpoints: The endpoints that it exports.
        replaces: The keys of the export that it replaces.

    Returns:
        The claim, and those of other runs before it.

    Raises:
        StoreRefused: Writing is not allowed, or far too many runs did not finish.
        BulkExportError: The store keeps failing.
    """
    others: list[Claim] = []
    for generation in range(after + 1, min(after + _MOST_CLAIMS, MOST_GENERATIONS)):
        claim = Claim(generation, run, started_at, endpoints, replaces)
        try:
            store.create(claim_key(generation), claim.content)
        except ObjectExists:
            existing = _existing(store, generation)
            if existing is None or existing.run != run:
                others += [] if existing is None else [existing]
                continue
        require_conditions(store, claim_key(generation), claim.content, replaces=bool(claim.replaces))
        return claim, others
    raise StoreRefused(
        f"Some {_MOST_CLAIMS} exports to {store.url} were begun and not finished.",
        next_step="Choose another address, or remove what is below it.",
    )


def read_claim(store: ObjectStore, generation: int) -> Claim | None:
    """The claim of a generation; None if nobody has one.

    Raises:
        DamagedState: It is not as a run wrote it.
        BulkExportError: The store rejects it, or keeps failing.
    """
    found = store.read(claim_key(generation), most=_LARGEST)
    if found is None:
        return None
    try:
        value = json.loads(found[0])
        claim = Claim(
            generation, str(value["run"]), str(value["started_at"]), _endpoints(value), _replaced(value["replaces"])
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedState(
            f"{claim_key(generation)} in {store.url} is not as an export writes it.",
            kept="Nothing was changed.",
            next_step="Choose another address, or remove this object if no export is under way there.",
        ) from None
    return claim


def require_conditions(store: ObjectStore, key: str, content: bytes, *, replaces: bool) -> None:
    """Raise StoreRefused for a store that writes an object although it is there, or is another version.

    Some stores with the interface of S3 ignore such conditions. Two machines could then both finish.

    Args:
        store: The store.
        key: The key of an object that is there.
        content: What a store that ignores conditions writes.
        replaces: Whether objects will be replaced, too.

    Raises:
        StoreRefused: It ignores conditions.
        BulkExportError: The store keeps failing.
    """
    refused = StoreRefused(
        f"The store at {store.url} writes objects that are there already, although it was told not to.",
        kept="No record was written.",
        next_step="Choose another store, or export to a directory and copy it.",
    )
    try:
        store.create(key, content)
    except ObjectExists:
        pass
    else:
        raise refused
    if not replaces:
        return
    try:
        store.replace(key, content, _NO_VERSION)
    except ObjectChanged:
        pass
    else:
        raise refused


def _existing(store: ObjectStore, generation: int) -> Claim | None:
    """The claim that kept ours from being written; None if it may not be read, or is gone again."""
    try:
        return read_claim(store, generation)
    except StoreAccessDenied:
        return None


def _endpoints(value: Any) -> list[str]:
    return [name for name in value["endpoints"] if isinstance(name, str) and is_endpoint(name)]


def _replaced(keys: Iterable[Any]) -> list[str]:
    """The keys that a claim says to be replaced, as far as an export can have written them."""
    return [key for key in keys if isinstance(key, str) and (ours := parse_key(key)) is not None and ours.path]
