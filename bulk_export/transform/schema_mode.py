"""What `--schema` says about records that are not as described: let it be, stop, or make room for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pyarrow.compute as pc

from bulk_export.core.model import Endpoint
from bulk_export.errors import SchemaDrift
from bulk_export.transform.decode import Decoder, Drift, RecordShaper
from bulk_export.transform.inference import SchemaInference

_SAYS = {
    "unknown": "has an attribute that is not described",
    "misfits": "has a value of another type than is described",
    "duplicate_keys": "has a key that stands twice in one object",
}


def refuse_drift(endpoint: Endpoint, drift: Drift, where: str) -> None:
    """Raise SchemaDrift naming the first place, if records held more or other things than is described."""
    for kind, says in _SAYS.items():
        if paths := sorted(getattr(drift, kind)):
            more = f", and {len(paths) - 1} more like it" if len(paths) > 1 else ""
            raise SchemaDrift(
                f"{endpoint.name} {says}: {paths[0]} ({where}){more}.",
                kept="Every page stored so far is kept; nothing was published.",
                next_step="The same command with --schema lax goes on, and keeps such values in _extra.",
            )


class SchemaScan:
    """Looks through the pages of an endpoint before they are converted, for what its description lacks.

    `looked_at` counts the pages it has seen.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.looked_at = 0
        self._decoder = Decoder(endpoint, columns=True, lines=None)
        self._arrangement = RecordShaper(endpoint)
        self._inference = SchemaInference(endpoint)

    def look(self, bodies: Sequence[bytes]) -> None:
        """Take in the next pages."""
        block = self._decoder.decode(bodies)
        if block.batch is not None and block.drift.unknown:
            lacking = set(pc.indices_nonzero(pc.is_valid(block.batch.column("_extra"))).to_pylist())
            row = itertools.count()
            for body in bodies:
                for record in self._arrangement.records(body):
                    if next(row) in lacking:
                        self._inference.take(record)
        self.looked_at += len(bodies)

    def described(self) -> Endpoint:
        """The endpoint with what was found."""
        return self._inference.described()
