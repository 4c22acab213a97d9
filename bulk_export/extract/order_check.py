"""Whether pages follow each other in the order the service promises: a sign that data changed where they do not.

Only times are compared. They are shown in whole seconds, so equal ones say nothing, and texts are sorted by rules
of the service's database that are not known here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import msgspec

from bulk_export.core.model import Endpoint, Kind
from bulk_export.transform import schema
from bulk_export.transform.decode import RecordShaper
from bulk_export.transform.decode.values import parse_timestamp

Edges = tuple[int | None, int | None]


def edge_reader(endpoint: Endpoint) -> Callable[[Sequence[bytes]], Edges]:
    """A function that gives the order keys of the first and the last record of a page, None where there is none."""
    name = endpoint.order[0] if endpoint.order else None
    kinds = {field.name: field.type for field in endpoint.fields}
    if name is None or kinds.get(name) not in (Kind.TIMESTAMP, Kind.DATE):
        return lambda _: (None, None)
    normalize = RecordShaper(endpoint).normalize
    attributes = msgspec.defstruct("Attributes", [(name, str)])
    decoder = msgspec.json.Decoder(msgspec.defstruct("Record", [(schema.ATTRIBUTES, attributes)]))

    def key(record: bytes) -> int | None:
        try:
            text = getattr(decoder.decode(normalize(record)).attributes, name)  # type: ignore[attr-defined]  # made above
        except (msgspec.DecodeError, RecursionError):
            return None
        return parse_timestamp(text)

    return lambda records: (key(records[0]), key(records[-1])) if records else (None, None)


def backwards(pages: Iterable[Edges]) -> int:
    """How often a page begins before the end of the one in front of it."""
    return sum(
        last is not None and first is not None and first < last for (_, last), (first, _) in itertools.pairwise(pages)
    )
