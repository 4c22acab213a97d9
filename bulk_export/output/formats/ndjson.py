"""NDJSON part files: one record a line, compressed or not."""

from __future__ import annotations

from pathlib import Path

from bulk_export.output.formats.text_file import TextFile
from bulk_export.transform.decode import Block


class NdjsonPart:
    """Writes lines. The bytes of the file do not depend on where blocks end."""

    def __init__(self, path: Path, compression: str) -> None:
        self.rows = 0
        self._file = TextFile(path, compression)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, once it is closed."""
        return self._file.sha256

    def write(self, block: Block) -> None:
        """Append the lines of a block."""
        if block.lines is None:
            raise ValueError("a block without lines")
        if not block.lines:
            return
        self.rows += len(block.lines)
        for piece in block.lines.pieces:
            self._file.write(piece)

    def close(self) -> None:
        """Write what is buffered, and sync."""
        self._file.close()

    def abort(self) -> None:
        """Remove the file."""
        self._file.abort()
