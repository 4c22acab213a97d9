"""The interface of part files, and the private file that they write to."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from bulk_export.core.compat.opening import open_file
from bulk_export.transform.decode import Block

if TYPE_CHECKING:
    from typing_extensions import Buffer


# For columns, which are written in small pieces. Lines come in large ones, which bypass the buffer.
_BUFFER = 1 << 18


# More than any body that is accepted.
LONGEST_LINE = 1 << 28


class UnreadablePart(ValueError):
    """A part file that cannot be read to its end. The message says why, and never quotes its contents."""


@dataclass(frozen=True, slots=True)
class CsvStyle:
    """What CSV files are made for.

    Attributes:
        bom: Whether a file begins with a byte order mark, by which Excel knows UTF-8.
        safe: Whether an apostrophe is put before text that a spreadsheet takes for a formula.
    """

    bom: bool = False
    safe: bool = False


PLAIN_CSV = CsvStyle()


class PartWriter(Protocol):
    """A part file being written; `rows` counts its rows so far. After an OSError from any method, call `abort`."""

    rows: int

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file in hexadecimal, once it is closed."""

    def write(self, block: Block) -> None:
        """Append the rows of a block."""

    def close(self) -> None:
        """Finish the file and sync it. It is complete only then."""

    def abort(self) -> None:
        """Remove the file. May be called after any failure, and leaves nothing that can be read."""


class PrivateFile(io.RawIOBase):
    """A new file with mode 0600, whatever the umask, that hashes what is written to it.

    It can be discarded while a library still writes to it: libraries write a footer when they are closed, even after
    a failure, and a Parquet footer would make a valid file of the rows so far.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._digest = hashlib.sha256()
        descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._file: BinaryIO | None = os.fdopen(descriptor, "wb", buffering=_BUFFER)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, content: Buffer, /) -> int:
        """Write all of `content`; nothing once the file was discarded."""
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
        """Remove the file, and ignore whatever is written from now on."""
        file, self._file = self._file, None
        if file is not None:
            # Windows removes no open file. Closing it writes what is buffered, which may fail once more.
            with contextlib.suppress(OSError):
                file.close()
            self._path.unlink(missing_ok=True)
