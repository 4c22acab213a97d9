"""Whether pages follow each other in the promised order: if they do not, the data changed while they were read.

Only times are compared, since nobody here knows the rules by which the service's database sorts texts. Times have whole
seconds, so equal ones prove nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from bulk_export.core.model import Endpoint, Kind
from bulk_export.transform import schema
from bulk_export.transform.decode import RecordShaper
from bulk_export.transform.decode.values import parse_timestamp

# The order keys of the first and the last record of a page: microseconds since 1970, or None for no key.
Edges = tuple[int | None, int | None]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The lengths of a time as services usually send it, by the characters behind its seconds.
_USUAL = {20: "Z", 24: ".", 27: "."}


def edge_reader(endpoint: Endpoint) -> Callable[[Sequence[bytes]], Edges]:
    """Return a function that reads the edges of a page from its records.

    It returns `(None, None)` for every page if the records are not ordered by a time that they contain.
    """
    name = endpoint.order[0] if endpoint.order else None
    kinds = {field.name: field.type for field in endpoint.fields}
    if name is None or kinds.get(name) not in (Kind.TIMESTAMP, Kind.DATE):
        return lambda _: (None, None)
    normalize = RecordShaper(endpoint).normalize
    attributes = msgspec.defstruct("Attributes", [(name, str)])
    decoder = msgspec.json.Decoder(msgspec.defstruct("Record", [(schema.ATTRIBUTES, attributes)]))

    def order_key(record: bytes) -> int | None:
        try:
            text = getattr(decoder.decode(normalize(record)).attributes, name)  # type: ignore[attr-defined]  # above
        except (msgspec.DecodeError, RecursionError):
            return None
        return _microseconds(text)

    return lambda records: (order_key(records[0]), order_key(records[-1])) if records else (None, None)


def _microseconds(text: str) -> int | None:
    """Return what `parse_timestamp` returns, for usual times in a tenth of the time."""
    is_usual = _USUAL.get(len(text)) == text[19:20] and text[-1:] == "Z"
    if is_usual and text[4] == text[7] == "-" and text[10] == "T" and text[13] == text[16] == ":":
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        except ValueError:
            pass
    return parse_timestamp(text)


def count_backward_pages(pages: Iterable[Edges]) -> int:
    """Count the pages whose first record comes before the last record of the previous page.

    >>> count_backward_pages([(1, 5), (4, 6), (6, 7)])
    1
    """
    return sum(
        last is not None and first is not None and first < last for (_, last), (first, _) in itertools.pairwise(pages)
    )
