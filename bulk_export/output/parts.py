"""The parts of one endpoint: where one ends and the next begins, and when a part counts.

A part ends after the page that brings its records to `part_rows`, so the cuts depend on the pages alone, and not on
time or on interruptions. A part counts once it is entered in the journal, after its files are durable. All methods
block: call them in a worker thread.

Where there are several cores, pages are decoded in further threads while those before them are written. Blocks are
written in order in any case, so the files do not depend on it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.core.ahead import Ahead
from bulk_export.core.files import local_failures, make_directory_below
from bulk_export.core.process import trim_heap
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore, Part
from bulk_export.output.file_names import PARTIAL, REVISION_NAME, is_part, safe_name
from bulk_export.output.open_part import OpenPart, OutputFormat
from bulk_export.output.page_blocks import PageBlocks, PageBody
from bulk_export.output.uploaded_parts import uploaded_file
from bulk_export.output.working_state import remove_tree
from bulk_export.transform.decode import Block

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 600_000
# Rows after which freed memory is given back to the system: a few row groups.
_TRIM_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class PartTarget:
    """Where parts go: the journal that lists them, the directory that holds them, their formats and their size.

    `part_rows` is the number of records after which a part ends, at the next end of a page; `cores` is how many blocks
    are decoded or written at once at most.
    """

    store: JournalStore
    staging: Path
    formats: tuple[OutputFormat, ...]
    part_rows: int = PART_ROWS
    cores: int = 1


class PartSequence:
    """Write the parts of the endpoint `name` in order, after those that an earlier run finished.

    Args:
        name: The endpoint.
        revision: 0 for the first conversion, 1 for the one with corrections. Each has a directory of its own, and
            opening one removes the others.
        blocks: Turns pages into rows.
        target: Where the parts go.

    Raises:
        DamagedState: A part that an earlier run finished is missing or has another size.
        LocalFailure: The directory could not be prepared.
    """

    def __init__(self, name: str, revision: int, blocks: PageBlocks, target: PartTarget) -> None:
        self._name = name
        self._blocks = blocks
        self._target = target
        self._open: OpenPart | None = None
        self._untrimmed = 0
        self._ahead = Ahead[tuple[Sequence[PageBody], Block]](target.cores)
        # Records of pages that were handed over since the last cut, whether they are written yet or not.
        self._since_cut = 0
        self.revision = revision
        self.folder = target.staging / safe_name(name) / f"revision-{revision}"
        self.parts = target.store.parts(name, revision)
        # The position of the last page that was handed over.
        self.converted = self.parts[-1].last_page if self.parts else 0
        self._clear_leftovers()

    @property
    def schema(self) -> pa.Schema:
        """The columns of the parts."""
        return self._blocks.schema

    @property
    def column_types(self) -> list[dict[str, str]]:
        """Names and types of the columns, as a manifest lists them."""
        return self._blocks.column_types

    @property
    def rows(self) -> int:
        """The number of rows in finished parts and in the one being written."""
        return sum(part.rows for part in self.parts) + (0 if self._open is None else self._open.rows)

    def write(self, pages: Sequence[PageBody], *, is_followed: bool = False) -> int:
        """Write the pages that follow those before.

        Args:
            pages: The pages.
            is_followed: Whether a call with the next pages comes right after this one. Then the last ones may still be
                decoded, and are written by a later call.

        Returns:
            The number of rows written.

        Raises:
            BulkExportError: The pages, or those of an earlier call, cannot be decoded or written.
        """
        rows = 0
        for group in self._up_to_each_cut(pages):
            self.converted = group[-1].ordinal
            self._ahead.add(functools.partial(self._decoded, group), is_last=not is_followed)
            while self._ahead.is_full:
                rows += self._write(*self._ahead.take())
        return rows if is_followed else rows + self._write_rest()

    def finish(self) -> None:
        """Finish the last part. An endpoint without records gets one part without rows."""
        self._write_rest()
        self._ahead.close()
        self._blocks.check_finished(self.parts)
        if not self.parts and self._open is None:
            self._open = self._new_part()
        if self._open is not None:
            self._close(self._open, self.converted)

    def abort(self) -> None:
        """Remove the part being written."""
        self._ahead.close()
        part, self._open = self._open, None
        if part is not None:
            part.abort()

    def _decoded(self, pages: Sequence[PageBody]) -> tuple[Sequence[PageBody], Block]:
        return pages, self._blocks.block(pages)

    def _write_rest(self) -> int:
        rows = 0
        while self._ahead:
            rows += self._write(*self._ahead.take())
        return rows

    def _write(self, pages: Sequence[PageBody], block: Block) -> int:
        if self._open is None:
            self._open = self._new_part()
        self._open.write(block, records=sum(page.records for page in pages))
        self._trim_after(len(block.ids))
        if self._open.records >= self._target.part_rows:
            self._close(self._open, pages[-1].ordinal)
        return len(block.ids)

    def _up_to_each_cut(self, pages: Sequence[PageBody]) -> Iterator[list[PageBody]]:
        group: list[PageBody] = []
        for page in pages:
            group.append(page)
            self._since_cut += page.records
            if self._since_cut >= self._target.part_rows:
                self._since_cut = 0
                yield group
                group = []
        if group:
            yield group

    def _new_part(self) -> OpenPart:
        formats = self._target.formats
        # Lines need no schema, and without one Arrow is not imported for them.
        schema = self.schema if any(form.name != "ndjson" for form in formats) else None
        return OpenPart(self._name, self.folder, len(self.parts), formats, schema)

    def _close(self, open_part: OpenPart, last_page: int) -> None:
        files = open_part.finish()
        self._open = None
        part = Part(
            endpoint=self._name,
            revision=self.revision,
            part=len(self.parts),
            last_page=last_page,
            rows=open_part.rows,
            files=files,
            drift=open_part.drift.to_json(),
            fingerprints=open_part.fingerprints,
        )
        self._target.store.add_part(part)
        # The fingerprints are in the journal; kept here as well, they would take memory for every row.
        self.parts.append(replace(part, fingerprints=b""))

    def _trim_after(self, rows: int) -> None:
        self._untrimmed += rows
        if self._untrimmed >= _TRIM_ROWS:
            self._untrimmed = 0
            trim_heap()

    def _clear_leftovers(self) -> None:
        """Remove unfinished files and other revisions, and check the sizes of the finished parts."""
        sizes = {Path(file.path).name: file.bytes for part in self.parts for file in part.files}
        with local_failures(f"Preparing the parts of {self._name}"):
            above = self.folder.parent
            make_directory_below(above.parents[1], above.parent.name, above.name, self.folder.name)
            for entry in os.scandir(above):
                if entry.name != self.folder.name and REVISION_NAME.fullmatch(entry.name):
                    remove_tree(Path(entry.path))
            existing = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.folder)}
            for name in existing.keys() - sizes.keys():
                if is_part(name.removesuffix(PARTIAL)):
                    (self.folder / name).unlink()
        for name, size in sizes.items():
            if existing.get(name) != size and not (name not in existing and self._is_uploaded(name)):
                raise DamagedState(
                    f"A finished part of {self._name}, {name}, is missing or was changed.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )

    def _is_uploaded(self, name: str) -> bool:
        """Whether a finished part was removed from here because an object store has it."""
        path = f"{self._name}/{name}"
        uploaded = uploaded_file(self._target.store, path)
        hashes = [file.sha256 for part in self.parts for file in part.files if file.path == path]
        return uploaded is not None and hashes == [uploaded.sha256]
