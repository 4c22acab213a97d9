"""Part files of each kind behind one interface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.output.formats.base import PartWriter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PartWriter", "extension", "open_part"]

_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def extension(form: str, compression: str) -> str:
    """What a part file's name ends in: `parquet`, `ndjson`, `ndjson.gz` or `ndjson.zst`."""
    return "parquet" if form == "parquet" else "ndjson" + _SUFFIXES[compression]


def open_part(path: Path, form: str, compression: str, schema: pa.Schema) -> PartWriter:
    """A new part file, made with mode 0600; it must not exist. Raises OSError."""
    if form == "parquet":
        from bulk_export.output.formats.parquet import ParquetPart

        return ParquetPart(path, compression, schema)
    from bulk_export.output.formats.ndjson import NdjsonPart

    return NdjsonPart(path, compression)
