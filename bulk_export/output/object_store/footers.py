"""Reads the footer of a Parquet object without the rest of it."""

from __future__ import annotations

from bulk_export.output.object_store.store import ObjectStore

# A Parquet file ends with its footer, four bytes with the length of that, and four that mark the format.
_MARK = b"PAR1"
_FOOTER_END = 8
_FOOTER_GUESS = 64 * 1024
_LARGEST_FOOTER = 64 * 1024 * 1024


def footer_of(store: ObjectStore, key: str, size: int) -> bytes | None:
    """Read the footer of an object.

    Args:
        store: The store.
        key: The key of the object.
        size: Its size.

    Returns:
        A Parquet file of that footer alone; None if the object is no Parquet file.

    Raises:
        ObjectMissing: There is no such object.
        BulkExportError: It cannot be read.
    """
    if size < _FOOTER_END:
        return None
    end = store.piece(key, max(0, size - _FOOTER_GUESS), size)
    needed = int.from_bytes(end[-_FOOTER_END:-4], "little") + _FOOTER_END
    if not end.endswith(_MARK) or needed > min(size, _LARGEST_FOOTER):
        return None
    if needed > len(end):
        end = store.piece(key, size - needed, size)
    return _MARK + end[-needed:]
