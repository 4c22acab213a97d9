"""Part files of every format behind one interface, `PartWriter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.output.formats.base import PLAIN_CSV, CsvStyle, PartWriter, UnreadablePart

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PLAIN_CSV", "CsvStyle", "PartWriter", "UnreadablePart", "extension", "open_part"]

_SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


def extension(form: str, compression: str) -> str:
    """The end of the name of a part file: `parquet`, `ndjson`, `ndjson.gz`, `csv.zst`, …"""
    return "parquet" if form == "parquet" else form + _SUFFIXES[compression]


def open_part(
    path: Path, form: str, compression: str, schema: pa.Schema | None, csv_style: CsvStyle = PLAIN_CSV
) -> PartWriter:
    """Open a new part file with mode 0600.

    Args:
        path: The file, which must not exist.
        form: `parquet`, `ndjson` or `csv`.
        compression: For Parquet a codec that Arrow knows; otherwise `none`, `gzip` or `zstd`.
        schema: The columns; None for NDJSON, which is written without them.
        csv_style: What a CSV file is made for.

    Raises:
        OSError: The file cannot be made.
    """
    if schema is None:
        if form != "ndjson":
            raise ValueError("columns without a schema")
    elif form == "parquet":
        from bulk_export.output.formats.parquet import ParquetPart

        return ParquetPart(path, compression, schema)
    elif form == "csv":
        from bulk_export.output.formats.csv import CsvPart

        return CsvPart(path, compression, schema, csv_style)
    from bulk_export.output.formats.ndjson import NdjsonPart

    return NdjsonPart(path, compression)
