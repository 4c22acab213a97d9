"""How records differ from their description: counted, or refused with `--schema strict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from bulk_export.core.model import Endpoint
from bulk_export.errors import SchemaDrift

_MESSAGES = {
    "unknown": "has an attribute that is not described",
    "misfits": "has a value of another type than is described",
    "duplicate_keys": "has a key that stands twice in one object",
}


class Drift:
    """Counts differences by dotted path; lists add nothing to a path.

    Attributes:
        unknown: Attributes and members without a description.
        misfits: Values of another type than described.
        missing: Described attributes and members that are absent.
        duplicate_keys: Keys that occur more than once in an object.
    """

    KINDS = ("unknown", "misfits", "missing", "duplicate_keys")

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        self.misfits: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.duplicate_keys: Counter[str] = Counter()

    def add(self, other: Drift) -> None:
        """Add the counts of `other`."""
        for kind in self.KINDS:
            getattr(self, kind).update(getattr(other, kind))

    def to_json(self) -> dict[str, dict[str, int]]:
        """The counts as JSON values, sorted by path."""
        return {kind: dict(sorted(getattr(self, kind).items())) for kind in self.KINDS}

    @classmethod
    def from_json(cls, counts: Mapping[str, Any]) -> Drift:
        """Read what `to_json` returned."""
        drift = cls()
        for kind in cls.KINDS:
            getattr(drift, kind).update(counts.get(kind, {}))
        return drift


def refuse_drift(endpoint: Endpoint, drift: Drift, where: str) -> None:
    """Raise SchemaDrift if records held anything that is not described; missing attributes are accepted.

    The message names the first path, never a value, and `where`: a page or a range of pages.
    """
    for kind, message in _MESSAGES.items():
        if paths := sorted(getattr(drift, kind)):
            more = f", and {len(paths) - 1} more like it" if len(paths) > 1 else ""
            raise SchemaDrift(
                f"{endpoint.name} {message}: {paths[0]} ({where}){more}.",
                next_step="The same command with --schema lax goes on, and keeps such values in _extra.",
            )
