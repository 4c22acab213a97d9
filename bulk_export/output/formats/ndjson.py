"""NDJSON part files: one record a line, compressed or not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from bulk_export.output.formats.base import PrivateFile
from bulk_export.transform.decode import Block

# A compressor gets its input in pieces of this size, so that its output does not depend on where blocks end.
_CHUNK = 1 << 20


class NdjsonPart:
    """Writes lines. The bytes of the file do not depend on where blocks end."""

    def __init__(self, path: Path, compression: str) -> None:
        self.rows = 0
        self._waiting = bytearray()
        self._file = PrivateFile(path)
        self._compressor: pa.CompressedOutputStream | None = None
        try:
            if compression != "none":
                self._compressor = pa.CompressedOutputStream(pa.PythonFile(self._file, mode="w"), compression)
        except BaseException:
            self._file.discard()
            raise

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
            if self._compressor is None:
                self._file.write(piece)
            else:
                self._compress(self._compressor, piece)

    def _compress(self, compressor: pa.CompressedOutputStream, piece: bytes) -> None:
        self._waiting += piece
        size = len(self._waiting) - len(self._waiting) % _CHUNK
        if size:
            with memoryview(self._waiting) as waiting:
                for start in range(0, size, _CHUNK):
                    compressor.write(waiting[start : start + _CHUNK])
            del self._waiting[:size]

    def close(self) -> None:
        """Write what is buffered, end the compressed stream, and sync."""
        compressor, self._compressor = self._compressor, None
        if compressor is not None:
            compressor.write(bytes(self._waiting))
            self._waiting.clear()
            compressor.close()
        self._file.sync_and_close()

    def abort(self) -> None:
        """Remove the file; what the compressor writes at its end is ignored."""
        self._waiting.clear()
        self._file.discard()
        if self._compressor is not None:
            self._compressor.close()
