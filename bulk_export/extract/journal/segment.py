"""The file that holds the bodies of pages, beside the journal whose rows say where each one lies.

In format 4, bodies are appended and synced, and only then named by rows. So

1. a kill in between leaves bytes behind the last body that a row names: nothing reads them, and the next append writes
   over them;
2. an append that fails leaves the end where it was, and the next one writes over what it left;
3. an append that succeeded moves the end, even if its rows could not be written: a commit that reports an error may
   still be found after a crash, and must then find its bodies.

In format 5, bodies are appended in batches with their rows (`batches`), and cases 2 and 3 are one: what an append that
failed left is written over, or is found whole after a crash.

Nothing is ever cut off or moved. Whether bytes are those that were stored, the checksums in the rows tell.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

from bulk_export.core.compat.opening import open_file, read_at, sync_contents, write_at
from bulk_export.core.directories import kind_of
from bulk_export.core.files import sync_directory

SUFFIX = ".pages"
_COPIED_AT_ONCE = 1 << 20


def segment_of(journal: Path) -> Path:
    """The path of the segment that belongs to a journal."""
    return journal.with_suffix(SUFFIX)


class Segment:
    """Bodies, one behind the other. Appends from several threads wait for each other; reads wait for nothing."""

    def __init__(self, path: Path, *, end: int) -> None:
        """Open a segment; one to which no row refers is created with mode 0600 if it is missing.

        Args:
            path: The file.
            end: Where the last body ends that a row of the journal names.

        Raises:
            OSError: It cannot be opened, or is no regular file of this name alone.
        """
        self._appending = threading.Lock()
        self._end = end
        # Case 1: there are bodies, so a missing file is not replaced by an empty one.
        self._descriptor = open_file(path, os.O_RDWR if end else os.O_RDWR | os.O_CREAT, waits=False)
        try:
            _check(os.fstat(self._descriptor), path.name)
            # Case 2: there are none. The file may be new, so its name is made as durable as its contents will be.
            if not end:
                sync_directory(path.parent)
        except BaseException:
            self.close()
            raise

    @property
    def end(self) -> int:
        """Where the next body will begin."""
        return self._end

    def append(self, bodies: Iterable[bytes]) -> list[int]:
        """Make bodies durable behind all others, in one sync; they are taken one at a time.

        Returns:
            Where each begins.

        Raises:
            OSError: They could not be stored; none of them counts.
        """
        positions = []
        with self._appending:
            end = self._end
            for body in bodies:
                positions.append(end)
                self.write(body, end)
                end += len(body)
            if end > self._end:
                self.sync()
            self._end = end
        return positions

    def read(self, position: int, size: int) -> bytes:
        """Return the bytes at a position, fewer than `size` if the file ends before. Raises OSError."""
        parts: list[bytes] = []
        while size:
            part = read_at(self._opened(), size, position)
            if not part:
                break
            parts.append(part)
            position += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, content: bytes, position: int) -> None:
        """Write bytes to a position, not yet durably. Raises OSError."""
        view = memoryview(content)
        while view:
            written = write_at(self._opened(), view, position)
            view = view[written:]
            position += written

    def sync(self) -> None:
        """Make everything durable that was written. Raises OSError; then nobody knows what is."""
        sync_contents(self._opened())

    def make_durable(self, first: int, end: int) -> None:
        """Make the bytes between two positions durable that an earlier run wrote. Raises OSError.

        They are written again first: after a sync that failed, the system may take them for written although they are
        in memory only.
        """
        for position in range(first, end, _COPIED_AT_ONCE):
            self.write(self.read(position, min(_COPIED_AT_ONCE, end - position)), position)
        self.sync()

    def size(self) -> int:
        """Return the size of the file. Raises OSError."""
        return os.fstat(self._opened()).st_size

    def close(self) -> None:
        """Close the file, when no append is under way; a second time does nothing."""
        with self._appending:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _opened(self) -> int:
        """The descriptor. Raises OSError after the file was closed: its number may be that of another file by then."""
        if self._descriptor < 0:
            raise OSError(0, "it is closed")
        return self._descriptor


def _check(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, f"{name} is {kind_of(found)}")
    if found.st_nlink > 1:
        raise OSError(0, f"{name} is a hard link, so another file would change with it")
