"""CSV part files by RFC 4180: UTF-8, a header, lines that end in CR LF."""

from __future__ import annotations

import codecs
from pathlib import Path

import pyarrow as pa

from bulk_export.output.formats.base import CsvStyle
from bulk_export.output.formats.text_file import TextFile
from bulk_export.transform.decode import Block
from bulk_export.transform.decode.csv_rows import CsvRows


class CsvPart:
    """Writes rows. Nothing waits for later ones, so memory does not depend on their number.

    A file of no rows has a header as well.
    """

    def __init__(self, path: Path, compression: str, schema: pa.Schema, style: CsvStyle) -> None:
        self.rows = 0
        self._rows = CsvRows(schema, safe=style.safe)
        # What is written before the first row, or at the end if there is none.
        self._header = (codecs.BOM_UTF8 if style.bom else b"") + self._rows.header
        self._file = TextFile(path, compression)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, once it is closed."""
        return self._file.sha256

    def write(self, block: Block) -> None:
        """Append the rows of a block's batch."""
        if block.batch is None:
            raise ValueError("a block without a batch")
        self._write_header()
        for piece in self._rows.pieces(block.batch):
            self._file.write(piece)
        self.rows += block.batch.num_rows

    def close(self) -> None:
        """Write what is buffered, and sync."""
        self._write_header()
        self._file.close()

    def abort(self) -> None:
        """Remove the file."""
        self._file.abort()

    def _write_header(self) -> None:
        if self._header:
            self._file.write(self._header)
            self._header = b""
