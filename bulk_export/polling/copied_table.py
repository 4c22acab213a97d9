"""What a poll needs of a table of the copy, whatever it is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pyarrow as pa

from bulk_export.polling.difference import Counts, Difference


class CopiedTable(Protocol):
    """One table. `schema` is None and `files` are none until the first poll."""

    schema: pa.Schema | None
    files: tuple[Path, ...]

    @property
    def version(self) -> int | None:
        """The number of its version, None where it has none."""

    def applied(self, poll: int) -> Counts | None:
        """What a poll of that number did to it, None where it did nothing yet."""

    def apply(self, difference: Difference, poll: int, *, delete_removed: bool) -> None:
        """Take the changes of a poll in, all at once for whoever reads. Raises LocalFailure."""
