"""A private file of text, compressed or not, whose bytes do not depend on the pieces it is written in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.output.formats.base import PrivateFile

if TYPE_CHECKING:
    import pyarrow as pa

# A compressor gets its input in pieces of this size, so that its output does not depend on where blocks end.
_CHUNK = 1 << 20


class TextFile:
    """Writes text to a new file with mode 0600.

    Args:
        path: The file, which must not exist.
        compression: `none`, `gzip` or `zstd`.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path, compression: str) -> None:
        self._waiting = bytearray()
        self._file = PrivateFile(path)
        self._compressor: pa.CompressedOutputStream | None = None
        try:
            if compression != "none":
                import pyarrow as pa

                self._compressor = pa.CompressedOutputStream(pa.PythonFile(self._file, mode="w"), compression)
        except BaseException:
            self._file.discard()
            raise

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, once it is closed."""
        return self._file.sha256

    def write(self, piece: bytes | pa.Buffer) -> None:
        """Append text."""
        if self._compressor is None:
            self._file.write(piece)
        else:
            self._compress(self._compressor, piece)

    def _compress(self, compressor: pa.CompressedOutputStream, piece: bytes | pa.Buffer) -> None:
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
