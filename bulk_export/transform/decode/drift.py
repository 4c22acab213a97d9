"""Counts of what records held that the schema has no place for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


class Drift:
    """How often, by dotted path: attributes nobody described, values of another type, attributes that were
    described and absent, and keys that stood twice in one object. Lists add nothing to a path."""

    KINDS = ("unknown", "misfits", "missing", "duplicate_keys")

    def __init__(self) -> None:
        self.unknown: Counter[str] = Counter()
        self.misfits: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.duplicate_keys: Counter[str] = Counter()

    def add(self, other: Drift) -> None:
        """Count what `other` counted too."""
        for kind in self.KINDS:
            getattr(self, kind).update(getattr(other, kind))

    def to_json(self) -> dict[str, dict[str, int]]:
        """The counts as JSON values, paths in alphabetical order."""
        return {kind: dict(sorted(getattr(self, kind).items())) for kind in self.KINDS}

    @classmethod
    def from_json(cls, counts: Mapping[str, Any]) -> Drift:
        """What `to_json` gave."""
        drift = cls()
        for kind in cls.KINDS:
            getattr(drift, kind).update(counts.get(kind, {}))
        return drift
