"""Part files of every format behind one interface, `PartWriter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.output.formats.base import PartWriter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PartWriter", "extension", "open_part"]

_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def extension(form: str, compression: str) -> str:
    """The end of the name of a part file: `parquet`, `ndjson`, `ndjson.gz` or `ndjson.zst`."""
    return "parquet" if form == "parquet" else "ndjson" + _SUFFIXES[compression]


def open_part(path: Path, form: str, compression: str, schema: pa.Schema) -> PartWriter:
    """Open a new part file with mode 0600.

    Args:
        path: The file, which must not exist.
        form: `parquet` or `ndjson`.
        compression: For Parquet a codec that Arrow knows; for NDJSON `none`, `gzip` or `zstd`.
        schema: The columns; not used for NDJSON.

    Raises:
        OSError: The file cannot be made.
    """
    if form == "parquet":
        from bulk_export.output.formats.parquet import ParquetPart

        return ParquetPart(path, compression, schema)
    from bulk_export.output.formats.ndjson import NdjsonPart

    return NdjsonPart(path, compression)
