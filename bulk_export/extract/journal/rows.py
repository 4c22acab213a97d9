"""The values of a journal's rows, checked for shape and bounds as they are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bulk_export.core.model import PageKey
from bulk_export.extract.journal.entries import PagePrints, Part, PartFile, StoredPage

_MOST = 2**53
_ENCODINGS = ("lz4", "gzip", "x-gzip", "identity", "")
# A body that was redacted before it was kept may have grown; nothing else passes the cap.
_GROWTH = 2
_HASH_BYTES = 8


class InvalidRow(ValueError):
    """A row that nobody wrote like this; the message ends a sentence about it."""


def checked_page(values: Sequence[Any], cap: int) -> StoredPage:
    """A page without its body, from the columns of its row. Raises Misshapen."""
    endpoint, sweep, page, records, first, last, encoding, size, crc = values
    if not (isinstance(endpoint, str) and endpoint and _are_counts(sweep, page, records, size, crc)):
        raise InvalidRow("is not described as a page")
    if not all(key is None or type(key) is int for key in (first, last)) or encoding not in _ENCODINGS:
        raise InvalidRow("is not described as a page")
    if size > _GROWTH * cap:
        raise InvalidRow(f"would take {size} bytes of memory")
    if records > size:
        raise InvalidRow(f"cannot hold {records} records")
    return StoredPage(PageKey(endpoint, sweep, page), records, encoding, size, b"", edges=(first, last))


def checked_prints(values: Sequence[Any]) -> PagePrints:
    """The fingerprints of a page. Raises Misshapen."""
    _, _, page, ids, contents = values
    if not (_are_counts(page) and isinstance(ids, bytes) and isinstance(contents, bytes)):
        raise InvalidRow("has no fingerprints")
    if len(ids) != len(contents) or len(ids) % _HASH_BYTES:
        raise InvalidRow("has other fingerprints than records")
    return PagePrints(page, ids, contents)


def checked_part(values: Sequence[Any]) -> Part:
    """A part without its fingerprints, which come last. Raises Misshapen, ValueError and TypeError."""
    endpoint, revision, part, last_page, rows, files, drift, fingerprints = values
    if not (isinstance(endpoint, str) and _are_counts(revision, part, last_page, rows)):
        raise InvalidRow("is not described as a part")
    described = tuple(PartFile(*file) for file in json.loads(files))
    if not isinstance(fingerprints, bytes) or len(fingerprints) % _HASH_BYTES:
        raise InvalidRow("has no fingerprints")
    if not described:
        raise InvalidRow("has no file")
    for file in described:
        if not (isinstance(file.path, str) and isinstance(file.sha256, str) and _are_counts(file.rows, file.bytes)):
            raise InvalidRow("has files that are not described")
        folder, _, name = file.path.partition("/")
        if folder != endpoint or not name or "/" in name or "\0" in name or file.rows != rows:
            raise InvalidRow("has files of another part")
    found = json.loads(drift)
    if not isinstance(found, dict):
        raise InvalidRow("does not say what was unknown in it")
    return Part(endpoint, revision, part, last_page, rows, described, found, b"")


def checked_request(values: Sequence[Any]) -> tuple[str, int]:
    """How many requests were sent for an endpoint. Raises Misshapen."""
    endpoint, sent = values
    if not (isinstance(endpoint, str) and _are_counts(sent)):
        raise InvalidRow("is no number")
    return endpoint, sent


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < _MOST for value in values)
