"""What a poll changes in one table of a copy: rows to insert, to update and to mark as removed, found by DuckDB.

Every value is compared, not the time of the last update: the service shows changed records with an older one.
What a poll wrote that overtook this one is newer than what this one fetched, and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export import database, schema
from bulk_export.column_names import unlike
from bulk_export.errors import DamagedState
from bulk_export.polling.copied_schema import OWN, united
from bulk_export.units import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRA = "delta"
_BATCH = 16_384


@dataclass(frozen=True, slots=True)
class Counts:
    """Records of one endpoint: how many were fetched, and what became of the copy."""

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0

    @property
    def changes(self) -> int:
        """Rows of the copy that are new or others now."""
        return self.inserted + self.updated + self.removed


class Difference:
    """Compares files that a poll fetched with those that a table consists of now.

    `copied` is the table's schema, None while it does not exist. With `finds_removed`, everything was fetched, so
    what is missing is gone. If the poll `is_overtaken`, rows written by those that started later stay. The outcome
    lies in `scratch` until `close`.
    """

    def __init__(
        self,
        fetched: Sequence[Path],
        current: Sequence[Path],
        copied: pa.Schema | None,
        *,
        started_at: datetime,
        finds_removed: bool,
        is_overtaken: bool,
        scratch: Path,
    ) -> None:
        self._current = current
        self._changes = scratch / "changes.parquet"
        self._connection = database.connect(EXTRA, spill_to=scratch / "spilled")
        with self._readable():
            written = pq.read_schema(fetched[0])
            self.schema = united(copied, written)
            self._change = database.name(unlike("/change", self.schema.names))
            self._fetched_columns = set(written.names)
            self._current_columns = set() if copied is None else set(copied.names)
            older = f"c.{schema.SYNCED_AT} <= {_instant(started_at)}" if is_overtaken else "true"
            self._compare(fetched, _instant(started_at), older, finds_removed=finds_removed)
            self.counts = self._count(fetched)

    def close(self) -> None:
        """Let go of the database, and of the changes."""
        self._connection.close()
        self._changes.unlink(missing_ok=True)

    def changes(self) -> pa.RecordBatchReader:
        """The rows that are new or others now; removed ones have the time at which that was found."""
        chosen = ", ".join(self._column("", column, self._written) for column in self.schema.names)
        return self._reader(f"SELECT {chosen} FROM {self._read_changes()}")  # noqa: S608  # quoted names

    def merged(self, *, delete_removed: bool) -> pa.RecordBatchReader:
        """All rows of the table as it is to be."""
        changed = self._read_changes()
        selects = []
        if self._current:
            kept = ", ".join(self._column("c.", column, self._current_columns) for column in self.schema.names)
            selects.append(
                f"SELECT {kept} FROM {database.read_parquet(self._current)} c"  # noqa: S608  # quoted names
                f" ANTI JOIN {changed} x ON c.id = x.id"
            )
        added = ", ".join(self._column("", column, self._written) for column in self.schema.names)
        gone = f" WHERE {self._change} <> 'remove'" if delete_removed else ""
        selects.append(f"SELECT {added} FROM {changed}{gone}")  # noqa: S608  # quoted names
        return self._reader(" UNION ALL ".join(selects))

    def _compare(self, fetched: Sequence[Path], started: str, older: str, *, finds_removed: bool) -> None:
        """`older` is the condition for rows of the copy that this poll may change."""
        columns = [column for column in self.schema.names if column not in OWN]
        shown = ", ".join(self._column("f.", column, self._fetched_columns) for column in columns)
        source = database.read_parquet(fetched)
        if not self._current:
            query = (
                f"SELECT {shown}, {started} AS {schema.SYNCED_AT}, NULL::TIMESTAMPTZ AS {schema.REMOVED_AT},"  # noqa: S608
                f" 'insert' AS {self._change} FROM {source} f"
            )
        else:
            current = database.read_parquet(self._current)
            unlike = " OR ".join(
                f"{self._value('f.', column, self._fetched_columns)} IS DISTINCT FROM"
                f" {self._value('c.', column, self._current_columns)}"
                for column in columns
                if column != schema.ID
            )
            query = (
                f"SELECT {shown}, {started} AS {schema.SYNCED_AT}, NULL::TIMESTAMPTZ AS {schema.REMOVED_AT},"  # noqa: S608
                f" CASE WHEN c.id IS NULL THEN 'insert' ELSE 'update' END AS {self._change}"
                f" FROM {source} f LEFT JOIN {current} c ON f.id = c.id"
                f" WHERE c.id IS NULL OR ({older} AND (c.{schema.REMOVED_AT} IS NOT NULL OR {unlike}))"
            )
            if finds_removed:
                kept = ", ".join(self._column("c.", column, self._current_columns) for column in columns)
                query += (
                    f" UNION ALL SELECT {kept}, {started}, {started}, 'remove' FROM {current} c"  # noqa: S608
                    f" ANTI JOIN {source} f ON c.id = f.id"
                    f" WHERE c.{schema.REMOVED_AT} IS NULL AND {older}"
                )
        place = database.text(str(self._changes.absolute()))
        self._connection.execute(f"COPY ({query}) TO {place} (FORMAT parquet, COMPRESSION zstd)")

    def _count(self, fetched: Sequence[Path]) -> Counts:
        rows = self._connection.execute(
            f"SELECT {self._change}, count(*) FROM {self._read_changes()} GROUP BY {self._change}"  # noqa: S608  # quoted names
        ).fetchall()
        found = dict(rows)
        total = sum(pq.read_metadata(file).num_rows for file in fetched)
        inserted, updated = found.get("insert", 0), found.get("update", 0)
        return Counts(total, inserted, updated, total - inserted - updated, found.get("remove", 0))

    def _value(self, table: str, column: str, there: set[str]) -> str:
        return f"{table}{database.name(column)}" if column in there else "NULL"

    def _column(self, table: str, column: str, there: set[str]) -> str:
        return f"{self._value(table, column, there)} AS {database.name(column)}"

    @property
    def _written(self) -> set[str]:
        return set(self.schema.names)

    def _read_changes(self) -> str:
        return database.read_parquet([self._changes])

    def _reader(self, query: str) -> pa.RecordBatchReader:
        batches = self._connection.sql(query).to_arrow_reader(_BATCH)

        def cast() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                columns = [_as(column, field) for column, field in zip(batch.columns, self.schema, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

        return pa.RecordBatchReader.from_batches(self.schema, cast())

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (database.failures(), ValueError) as error:  # their texts may quote values
            self.close()
            raise DamagedState(
                f"The tables of the copy cannot be compared ({type(error).__name__}).", kept="Nothing was changed."
            ) from None


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ {database.text(format_instant(moment))}"


def _as(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column as it is to be written; one that is missing on one side comes as nulls of any type."""
    return pa.nulls(len(column), field.type) if column.null_count == len(column) else column.cast(field.type)
