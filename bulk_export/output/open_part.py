"""One part while it is written: a file in each format, and what the journal has to know of it.

The files are written under temporary names. `finish` syncs, hashes and renames them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.core.files import local_failures, sync_directory
from bulk_export.extract.journal import PartFile
from bulk_export.output.file_names import PARTIAL
from bulk_export.output.formats import PLAIN_CSV, CsvStyle, PartWriter, extension, open_part
from bulk_export.transform.decode import Block, Drift
from bulk_export.transform.dedup.fingerprints import fingerprints

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One way to write records: `parquet`, `ndjson` or `csv`, its compression, and what CSV is made for."""

    name: str
    compression: str
    csv_style: CsvStyle = PLAIN_CSV


class OpenPart:
    """Write the rows of one part of the endpoint `name` to all formats at once. Lines alone need no schema.

    `records` counts the records of the pages so far, including rows that were excluded, and decides where the part
    ends. `rows`, `drift` and `fingerprints` describe what was written.

    Raises:
        LocalFailure: A file could not be created, written or renamed. Call `abort` then.
    """

    def __init__(
        self, name: str, folder: Path, number: int, formats: Sequence[OutputFormat], schema: pa.Schema | None
    ) -> None:
        self._name = name
        self._folder = folder
        self._files: list[tuple[PartWriter, Path]] = []
        self.records = 0
        self.rows = 0
        self.drift = Drift()
        self.fingerprints = bytearray()
        try:
            with local_failures(f"Opening a part of {name}"):
                for form in formats:
                    final = folder / f"part-{number:05}.{extension(form.name, form.compression)}"
                    writer = open_part(_partial(final), form.name, form.compression, schema, form.csv_style)
                    self._files.append((writer, final))
        except BaseException:
            self.abort()
            raise

    def write(self, block: Block, *, records: int) -> None:
        """Append the rows of a block that was made of pages with `records` records."""
        with local_failures(f"Writing the records of {self._name}"):
            for writer, _ in self._files:
                writer.write(block)
        self.fingerprints += fingerprints(block.ids)
        self.drift.add(block.drift)
        self.rows += len(block.ids)
        self.records += records

    def finish(self) -> tuple[PartFile, ...]:
        """Make the files durable under their final names, and describe them."""
        files = []
        with local_failures(f"Finishing a part of {self._name}"):
            for writer, final in self._files:
                writer.close()
                partial = _partial(final)
                size = partial.stat().st_size
                partial.rename(final)
                files.append(PartFile(f"{self._name}/{final.name}", self.rows, size, writer.sha256))
            sync_directory(self._folder)
        return tuple(files)

    def abort(self) -> None:
        """Remove the unfinished files."""
        for writer, _ in self._files:
            writer.abort()


def _partial(final: Path) -> Path:
    return final.with_name(final.name + PARTIAL)
