"""What every kind of part file can do."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from bulk_export.transform.decode import Block

if TYPE_CHECKING:
    from typing_extensions import Buffer


# Columns are written in small pieces; lines come in large ones, which pass the buffer by.
_BUFFER = 1 << 18


class PartWriter(Protocol):
    """One part file being written, `rows` of it so far. OSError from any method means that it must be aborted."""

    rows: int

    @property
    def sha256(self) -> str:
        """The SHA-256 of the whole file in hexadecimal, once it is closed."""

    def write(self, block: Block) -> None:
        """Append the rows of a block."""

    def close(self) -> None:
        """Finish the file and sync it; only then is it whole."""

    def abort(self) -> None:
        """Give up: the file goes, and no readable part of it stays. Harmless after any failure."""


class PrivateFile(io.RawIOBase):
    """A new file with mode 0600, whatever the umask, that can be given up while a library still writes to it.

    What is written is hashed on its way.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._file: BinaryIO | None = os.fdopen(descriptor, "wb", buffering=_BUFFER)

    @property
    def sha256(self) -> str:
        """Of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, content: Buffer, /) -> int:
        """Write all of `content`, to nowhere once the file was discarded."""
        size = memoryview(content).nbytes
        if self._file is not None:
            self._file.write(content)
            self._digest.update(content)
        return size

    def sync_and_close(self) -> None:
        """Make what was written durable, and close."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Remove the file, and swallow whatever else is written."""
        file, self._file = self._file, None
        if file is not None:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                file.close()
