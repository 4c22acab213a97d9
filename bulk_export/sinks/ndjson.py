"""NDJSON part files, plain or compressed, one record a line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from bulk_export.decode import Block
from bulk_export.sinks.interface import PrivateFile

# Lines are gathered to this size, so that what the compressor is given does not depend on where blocks end.
_CHUNK = 1 << 20


class NdjsonPart:
    """Writes lines in chunks of the same size, wherever blocks end."""

    def __init__(self, path: Path, compression: str) -> None:
        self.rows = 0
        self._waiting = bytearray()
        self._file = PrivateFile(path)
        try:
            raw = pa.PythonFile(self._file, mode="w")
            self._sink = raw if compression == "none" else pa.CompressedOutputStream(raw, compression)
        except BaseException:
            self._file.discard()
            raise

    def write(self, block: Block) -> None:
        """Append the lines of a block."""
        if block.lines is None:
            raise ValueError("a block without lines")
        if block.lines:
            self._waiting += b"\n".join(block.lines)
            self._waiting += b"\n"
            self.rows += len(block.lines)
        whole = len(self._waiting) - len(self._waiting) % _CHUNK
        if whole:
            for start in range(0, whole, _CHUNK):
                self._sink.write(bytes(self._waiting[start : start + _CHUNK]))
            del self._waiting[:whole]

    def close(self) -> None:
        """Write what is left, end the stream, and sync."""
        self._sink.write(bytes(self._waiting))
        self._waiting.clear()
        sink, self._sink = self._sink, None
        if not isinstance(sink, pa.PythonFile):
            sink.close()
        self._file.sync_and_close()

    def abort(self) -> None:
        """Remove the file, then let the compressor end its stream to nowhere."""
        self._waiting.clear()
        self._file.discard()
        if self._sink is not None:
            self._sink.close()
