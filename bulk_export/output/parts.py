"""Pages to part files: what is cut where, and when a part counts.

Parts are cut after the page that brings the records met to a multiple of `part_rows`, so that the cut
depends on the pages alone. A part is written under another name, synced, hashed and renamed; the entry in
the journal that follows is what makes it count. Blocking: meant to run in a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from bulk_export.core.files import local_failures, make_directory_below, remove_tree, safe_name, sync_directory
from bulk_export.core.model import Endpoint, PageKey
from bulk_export.core.process import trim_heap
from bulk_export.core.working_state import PARTIAL, REVISION_NAME, is_part
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore, Part, PartFile
from bulk_export.output.formats import PartWriter, extension, open_part
from bulk_export.transform.decode import Block, Body, Decoder, Drift, RecordShaper, version
from bulk_export.transform.dedup.fingerprints import Occurrence, fingerprints, fingerprints_of, repeated
from bulk_export.transform.schema_mode import refuse_drift

PART_ROWS = 600_000
# Rows after which freed memory is given back: some row groups.
_TRIM_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """One way to write records: `parquet` or `ndjson`, and how it is compressed."""

    name: str
    compression: str


@dataclass(frozen=True, slots=True)
class PageBody:
    """A page on its way into a part; `ordinal` is its place in the sequence that is converted, from 1."""

    key: PageKey
    ordinal: int
    records: int
    body: Body


class PartSequence:
    """The parts of one endpoint, written in order.

    `left_out` names rows, by page, that are not to be written. `revision` tells a conversion with other
    rows left out from the one before it. Parts that an earlier run finished stay as they are. If it `is_strict`,
    SchemaDrift is raised for records that hold what is not described.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        decoder: Decoder,
        formats: Sequence[OutputFormat],
        store: JournalStore,
        staging: Path,
        revision: int,
        left_out: Mapping[PageKey, frozenset[int]],
        part_rows: int = PART_ROWS,
        is_strict: bool = False,
    ) -> None:
        # Without fields, nothing is said of what records hold.
        self._is_strict = is_strict and bool(endpoint.fields)
        self._endpoint = endpoint
        self._arrangement = RecordShaper(endpoint)
        self._decoder = decoder
        self._formats = formats
        self._store = store
        self.folder = staging / safe_name(endpoint.name) / f"revision-{revision}"
        self._revision = revision
        self._left_out = left_out
        self._part_rows = part_rows
        self._writers: list[tuple[PartWriter, Path]] = []
        self._drift = Drift()
        self._fingerprints = bytearray()
        self._rows = 0
        self._met = 0
        self._untrimmed = 0
        self.parts = store.parts(endpoint.name, revision)
        self.converted = self.parts[-1].last_page if self.parts else 0
        self._clear_leftovers()

    @property
    def schema(self) -> pa.Schema:
        """The columns of the parts."""
        return self._decoder.schema

    @property
    def rows(self) -> int:
        """Rows in finished parts and in the one being written."""
        return sum(part.rows for part in self.parts) + self._rows

    def write(self, pages: Sequence[PageBody]) -> int:
        """Convert pages that follow those before; the number of rows written."""
        written = 0
        for group in self._up_to_each_cut(pages):
            block = self._decoder.decode([page.body for page in group])
            self._check_counts(block, group)
            if self._is_strict:
                self._refuse_drift(block.drift, group)
            block = self._without_left_out(block, group)
            if not self._writers:
                self._open_part()
            with local_failures(f"Writing the records of {self._endpoint.name}"):
                for writer, _ in self._writers:
                    writer.write(block)
            self._fingerprints += fingerprints(block.ids)
            self._drift.add(block.drift)
            self._rows += len(block.ids)
            self._met += sum(page.records for page in group)
            self.converted = group[-1].ordinal
            written += len(block.ids)
            self._untrimmed += len(block.ids)
            if self._untrimmed >= _TRIM_ROWS:
                self._untrimmed = 0
                trim_heap()
            if self._met >= self._part_rows:
                self._close_part()
        return written

    def finish(self) -> None:
        """Close the last part. An endpoint without records gets one without rows."""
        if self._is_strict:
            for part in self.parts:
                refuse_drift(self._endpoint, Drift.from_json(part.drift), f"up to page {part.last_page}")
        if not self.parts and not self._writers:
            self._open_part()
        if self._writers:
            self._close_part()

    def abort(self) -> None:
        """Give up the part being written; nothing of it stays."""
        writers, self._writers = self._writers, []
        for writer, _ in writers:
            writer.abort()

    def fingerprints(self) -> Iterator[bytes]:
        """64 bits of what tells each row in the finished parts from others, a part at a time."""
        return self._store.fingerprints(self._endpoint.name, self._revision)

    def duplicates(self) -> frozenset[int]:
        """The fingerprints that stand in the finished parts more than once."""
        return repeated(self.fingerprints, self.rows)

    def occurrences(self, page: PageBody, wanted: frozenset[int]) -> list[Occurrence]:
        """The rows of a page that have one of the wanted fingerprints."""
        ids = self._decoder.decode([page.body]).ids
        sent = self._arrangement.split(page.body)
        prints = memoryview(fingerprints(ids)).cast("Q")
        rows = [row for row, fingerprint in enumerate(prints) if fingerprint in wanted]
        contents = memoryview(fingerprints_of(sent[row] for row in rows)).cast("Q")
        return [
            Occurrence.of(ids[row], page.key, row, version(self._arrangement.arrange(sent[row])), content)
            for row, content in zip(rows, contents, strict=True)
        ]

    def _check_counts(self, block: Block, group: Sequence[PageBody]) -> None:
        """Raise DamagedState where a page holds more or fewer records than were counted when it came."""
        for page, count in zip(group, block.rows_per_page, strict=True):
            # What is taken from further sweeps is not counted by page.
            if page.key.sweep == 0 and count != page.records:
                raise DamagedState(
                    f"Page {page.key.page} of {page.key.endpoint} holds {count} records, and the journal says"
                    f" {page.records}.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )

    def _refuse_drift(self, drift: Drift, pages: Sequence[PageBody]) -> None:
        """Raise SchemaDrift where there is any, naming the first of the pages."""
        if drift.unknown or drift.misfits or drift.duplicate_keys:
            for page in pages:
                refuse_drift(self._endpoint, self._decoder.decode([page.body]).drift, f"page {page.key.page}")

    def _open_part(self) -> None:
        with local_failures(f"Opening a part of {self._endpoint.name}"):
            for form in self._formats:
                final = self.folder / f"part-{len(self.parts):05}.{extension(form.name, form.compression)}"
                partial = final.with_name(final.name + PARTIAL)
                writer = open_part(partial, form.name, form.compression, self._decoder.schema)
                self._writers.append((writer, final))

    def _close_part(self) -> None:
        files = []
        with local_failures(f"Finishing a part of {self._endpoint.name}"):
            for writer, final in self._writers:
                writer.close()
                partial = final.with_name(final.name + PARTIAL)
                size = partial.stat().st_size
                partial.rename(final)
                files.append(PartFile(f"{self._endpoint.name}/{final.name}", self._rows, size, writer.sha256))
            sync_directory(self.folder)
        self._writers = []
        part = Part(
            endpoint=self._endpoint.name,
            revision=self._revision,
            part=len(self.parts),
            last_page=self.converted,
            rows=self._rows,
            files=tuple(files),
            drift=self._drift.to_json(),
            fingerprints=self._fingerprints,
        )
        self._store.add_part(part)
        # The journal has its fingerprints; kept here too, they would add up.
        self.parts.append(replace(part, fingerprints=b""))
        self._drift = Drift()
        self._fingerprints = bytearray()
        self._rows = self._met = 0

    def _up_to_each_cut(self, pages: Sequence[PageBody]) -> Iterator[list[PageBody]]:
        group: list[PageBody] = []
        met = self._met
        for page in pages:
            group.append(page)
            met += page.records
            if met >= self._part_rows:
                yield group
                group, met = [], 0
        if group:
            yield group

    def _without_left_out(self, block: Block, group: Sequence[PageBody]) -> Block:
        rows: list[int] = []
        first = 0
        for page, count in zip(group, block.rows_per_page, strict=True):
            left_out = self._left_out.get(page.key, frozenset())
            if max(left_out, default=0) >= max(count, 1):
                raise DamagedState(
                    f"The journal leaves out a record of {page.key.endpoint} that page {page.key.page} does not hold.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )
            rows.extend(first + row for row in left_out)
            first += count
        return block.without(rows) if rows else block

    def _clear_leftovers(self) -> None:
        """Remove what a crash left of an unfinished part, and earlier revisions; check the finished parts."""
        known = {Path(file.path).name: file.bytes for part in self.parts for file in part.files}
        with local_failures(f"Preparing the parts of {self._endpoint.name}"):
            above = self.folder.parent
            make_directory_below(above.parents[1], above.parent.name, above.name, self.folder.name)
            for entry in os.scandir(above):
                if entry.name != self.folder.name and REVISION_NAME.fullmatch(entry.name):
                    remove_tree(Path(entry.path))
            sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.folder)}
            for name in sizes.keys() - known.keys():
                if is_part(name.removesuffix(PARTIAL)):
                    (self.folder / name).unlink()
        for name, size in known.items():
            if sizes.get(name) != size:
                raise DamagedState(
                    f"A finished part of {self._endpoint.name}, {name}, is missing or was changed.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )
