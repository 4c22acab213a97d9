"""Finds with DuckDB what a poll changes in one table: rows to insert, update, mark as removed and delete.

Every value is compared, not the time of the last update: the service shows changed records with an older `updated_at`.

1. A row whose key is unique in the load and in the table is matched by its key.
2. A row without a key, or one that shares its key with another row, is matched by its whole content, as often as that
   occurs. Nothing is overwritten that may be another record: a changed row is inserted, and the old one stays until a
   full load does not show it.
3. If later polls have started since (the poll is *overtaken*), a row that one of them wrote is newer, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from bulk_export.core.units import format_instant
from bulk_export.errors import DamagedState
from bulk_export.output import duckdb_sql
from bulk_export.output.duckdb_sql import name as quoted
from bulk_export.output.formats.reading import schema_of
from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.row_sql import RowSql
from bulk_export.pipelines.sync.tables.schema import SYNC_COLUMNS, ColumnPath, IncompatibleColumns, merged_schema
from bulk_export.pipelines.sync.tables.storage_errors import comparison_errors
from bulk_export.transform import schema
from bulk_export.transform.column_names import unused_name

# The extra of this package that installs DuckDB and delta-rs.
EXTRA = "delta"
_BATCH = 16_384
_NEVER = "NULL::TIMESTAMPTZ"


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """What to compare.

    Attributes:
        fetched: Parquet files of the load.
        current: Parquet files of the table; empty before its first poll.
        copied: Schema of the table; None before its first poll.
        started_at: Start of the poll, which changed rows get as `_synced_at`.
        detects_removals: The load is complete and proven, so records that it lacks are gone.
        is_overtaken: Later polls have started since.
        scratch: Directory for the changes until `TableDiff.close`.
        key: Columns that identify a row.
        earlier: Files of an earlier load of the same poll; records that only it showed exist, too.
        deletes_marked: Rows that were marked as removed before, and that the load lacks, are deleted.
    """

    fetched: Sequence[Path]
    current: Sequence[Path]
    copied: pa.Schema | None
    started_at: datetime
    detects_removals: bool
    is_overtaken: bool
    scratch: Path
    key: tuple[ColumnPath, ...] = ((schema.ID,),)
    earlier: Sequence[Path] = ()
    deletes_marked: bool = False


class TableDiff:
    """The difference between a load and a table. Close it: the changes lie in files and a database.

    The views in the database are `copied` (rows of the table), `latest` and `earlier` (rows of the loads) and `loaded`
    (rows that either load showed).

    Attributes:
        schema: Columns of the table after the merge.
        key: Columns that identify a row.
        counts: What the merge will change.
        live_rows: Rows of the table that are not marked as removed.

    Raises:
        DamagedState: Files cannot be read, or the columns that were fetched do not fit the table.
        LocalFailure: The disk is full.
    """

    def __init__(self, request: DiffRequest) -> None:
        self.key = request.key
        self._request = request
        self._by_key, self._by_content = request.scratch / "changes.parquet", request.scratch / "shared.parquet"
        self._started = f"TIMESTAMPTZ {duckdb_sql.text(format_instant(request.started_at))}"
        self._discards_removals = False
        self.counts = Counts()
        self._connection = duckdb_sql.connect(EXTRA, spill_to=request.scratch / "spilled")
        try:
            with comparison_errors(request.scratch, request.current):
                self._compare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database and remove the changes."""
        self._connection.close()
        self._by_key.unlink(missing_ok=True)
        self._by_content.unlink(missing_ok=True)

    def discard_removals(self) -> None:
        """Keep all rows that the load lacks, marked ones included, because the load is not trusted."""
        self._discards_removals = True
        self.counts = replace(self.counts, removed=0, deleted=0)

    @property
    def is_by_key(self) -> bool:
        """Whether a key finds each row that changes, because no row that changes shares its key or lacks one."""
        return not self._changes_by_content

    def changed_rows(self) -> pa.RecordBatchReader:
        """The rows matched by key that are new, changed or removed; removed ones have their `_removed_at`."""
        return self._reader(f"SELECT {self._sql.unpacked('x')} FROM {self._changes()} x")  # noqa: S608  # quoted names

    def table_rows(self, *, delete_removed: bool) -> pa.RecordBatchReader:
        """All rows of the table after the merge, without those removed by this poll if `delete_removed`."""
        left_out = "('remove', 'delete')" if delete_removed else "('delete')"
        changed = f"SELECT {self._sql.unpacked('x')} FROM {self._changes()} x"  # noqa: S608  # quoted names
        selects = [f"{changed} WHERE x.change NOT IN {left_out}"]
        if self._request.current:
            unchanged = ", ".join(f"copied.{quoted(column)}" for column in self.schema.names)
            selects.insert(
                0,
                f"SELECT {unchanged} FROM copied ANTI JOIN {self._changes()} x"  # noqa: S608
                f" ON {self._sql.same_key('copied', 'x.record')} WHERE NOT {self._shares_key('copied')}",
            )
        if self._has_shared_keys:
            change = "'keep'" if self._discards_removals else "x.change"
            columns = ", ".join(
                f"CASE WHEN ({change} = 'remove') THEN {self._started} ELSE x.record.{column} END AS {column}"
                if column in SYNC_COLUMNS
                else f"x.record.{quoted(column)} AS {quoted(column)}"
                for column in self.schema.names
            )
            selects.append(
                f"SELECT {columns} FROM {_rows_of(self._by_content)} x WHERE {change} NOT IN {left_out}"  # noqa: S608
            )
        return self._reader(" UNION ALL ".join(selects))

    def _compare(self) -> None:
        request = self._request
        loads = [schema_of(files[0]) for files in (request.fetched, request.earlier) if files]
        try:
            self.schema = merged_schema(request.copied, loads[0])
            if request.earlier:
                self.schema = merged_schema(self.schema, loads[1])
        except IncompatibleColumns as error:
            raise DamagedState(
                f"The fetched records do not fit into the copy: {error}.",
                kept="Nothing was changed.",
                next_step="Run the same command again: it is fetched anew.",
            ) from None
        self._sql = RowSql(self.schema, self.key)
        available = set() if request.copied is None else set(request.copied.names)
        self._define("copied", self._sql.select(request.current, available, with_sync_columns=True))
        self._define("latest", self._sql.select(request.fetched, loads[0].names, with_sync_columns=False))
        if request.earlier:
            self._define("earlier", self._sql.select(request.earlier, loads[1].names, with_sync_columns=False))
            self._define("loaded", self._union_of_loads())
        else:
            self._define("loaded", "SELECT * FROM latest")
        self._find_shared_keys()
        self._write(self._compare_by_key(), self._by_key)
        self._changes_by_content = False
        if self._has_shared_keys:
            self._write(self._compare_by_content(), self._by_content)
            changed = f"SELECT EXISTS (SELECT 1 FROM {_rows_of(self._by_content)} x WHERE x.change <> 'keep')"  # noqa: S608
            self._changes_by_content = bool(self._number(changed))
        self.counts = self._count()
        self.live_rows = self._number(f"SELECT count(*) FROM copied WHERE {schema.REMOVED_AT} IS NULL")  # noqa: S608

    def _define(self, view: str, query: str) -> None:
        self._connection.execute(f"CREATE TEMP VIEW {view} AS {query}")

    def _union_of_loads(self) -> str:
        """The rows of the latest load, and those of the earlier one that it lacks, by key or else by content."""
        self._connection.execute(f"CREATE TEMP TABLE earlier_shared AS {self._sql.repeated_keys('earlier')}")
        shares_key = f"({self._sql.lacks_key('earlier')} OR {self._sql.key_in('earlier_shared', 'earlier')})"
        self._connection.execute(
            "CREATE TEMP TABLE missed AS"  # noqa: S608  # quoted names
            f" SELECT earlier.* FROM earlier ANTI JOIN latest ON {self._sql.same_key('earlier', 'latest')}"
            f" WHERE NOT {shares_key}"
            f" UNION ALL (SELECT earlier.* FROM earlier WHERE {shares_key} EXCEPT ALL SELECT * FROM latest)"
        )
        return "SELECT * FROM latest UNION ALL SELECT * FROM missed"

    def _find_shared_keys(self) -> None:
        """Note the keys that several rows have on one side, and whether there are such or any row has none."""
        repeated = f"{self._sql.repeated_keys('loaded')} UNION {self._sql.repeated_keys('copied')}"
        self._connection.execute(f"CREATE TEMP TABLE shared AS {repeated}")
        without = [
            f"EXISTS (SELECT 1 FROM {view} WHERE {self._sql.lacks_key(view)})"  # noqa: S608  # quoted names
            for view in ("loaded", "copied")
        ]
        count = self._number(f"SELECT EXISTS (SELECT 1 FROM shared) OR {' OR '.join(without)}")  # noqa: S608
        self._has_shared_keys = bool(count)

    def _shares_key(self, view: str) -> str:
        """Whether a row is matched by content: it has no key, or shares its key with another row."""
        if not self._has_shared_keys:
            return "false"
        return f"({self._sql.lacks_key(view)} OR {self._sql.key_in('shared', view)})"

    def _is_older(self, view: str) -> str:
        """Whether this poll may change a row: no poll that started later wrote it."""
        return f"{view}.{schema.SYNCED_AT} <= {self._started}" if self._request.is_overtaken else "true"

    def _compare_by_key(self) -> str:
        """The query for changed rows with a unique key, and the kind of each change."""
        sql, start, older = self._sql, self._started, self._is_older("copied")
        exists, marked = sql.has_key("copied"), f"copied.{schema.REMOVED_AT} IS NOT NULL"
        # 1. Shown by a load: insert if it is new; update if a value differs, or if it was marked and is back.
        changed = (
            f"SELECT {sql.packed('loaded', start, _NEVER)},"  # noqa: S608  # quoted names
            f" CASE WHEN {exists} THEN 'update' ELSE 'insert' END AS change"
            f" FROM loaded LEFT JOIN copied ON {sql.same_key('loaded', 'copied')}"
            f" WHERE NOT {self._shares_key('loaded')} AND (NOT ({exists})"
            f" OR ({older} AND ({marked} OR NOT ({sql.same_content('loaded', 'copied')}))))"
        )
        selects = [changed]
        if self._request.current and self._request.detects_removals:
            missing = (
                f"FROM copied ANTI JOIN loaded ON {sql.same_key('copied', 'loaded')}"
                f" WHERE NOT {self._shares_key('copied')} AND {older}"
            )
            # 2. Not shown by a complete load: remove.
            selects.append(f"SELECT {sql.packed('copied', start, start)}, 'remove' {missing} AND NOT {marked}")
            # 3. Marked before, and still not shown: delete, if the copy deletes.
            if self._request.deletes_marked:
                times = [f"copied.{time}" for time in SYNC_COLUMNS]
                selects.append(f"SELECT {sql.packed('copied', *times)}, 'delete' {missing} AND {marked}")
        return " UNION ALL ".join(selects)

    def _compare_by_content(self) -> str:
        """The query for all rows that share a key or lack one, with the change of each.

        Rows of the same content are paired one by one. A key that one live row and one loaded row have pairs these two,
        even if other rows with that key are marked as removed.
        """
        sql, request = self._sql, self._request
        columns = ", ".join(map(quoted, sql.attributes))
        n = unused_name("n", sql.attributes)
        is_only_pair = f"({_rows_with_key_of_a(sql, 'live')} = 1 AND {_rows_with_key_of_a(sql, 'shown')} = 1)"
        no_newer = f"{_rows_with_key_of_a(sql, 'newer')} = 0" if request.is_overtaken else "true"
        removed = f"b.{n} IS NULL AND {self._is_older('a')}" if request.detects_removals else "false"
        marked = "'delete'" if request.deletes_marked and request.detects_removals else "'keep'"
        return (
            f"WITH shown AS (SELECT *, row_number() OVER (PARTITION BY {columns}) AS {n} FROM loaded"  # noqa: S608
            f" WHERE {self._shares_key('loaded')}),"
            f" live AS (SELECT *, row_number() OVER (PARTITION BY {columns} ORDER BY {schema.SYNCED_AT}) AS {n}"
            f" FROM copied WHERE copied.{schema.REMOVED_AT} IS NULL AND {self._shares_key('copied')}),"
            f" newer AS (SELECT * FROM live WHERE {schema.SYNCED_AT} > {self._started})"
            # 1. Marked before: deleted if the copy deletes, else kept.
            f" SELECT {sql.packed('copied', *(f'copied.{time}' for time in SYNC_COLUMNS))}, {marked} AS change"
            f" FROM copied WHERE copied.{schema.REMOVED_AT} IS NOT NULL AND {self._shares_key('copied')}"
            " UNION ALL"
            # 2. Live: kept or removed, unless it is the old version of an only pair, which case 3 replaces.
            f" SELECT {sql.packed('a', *(f'a.{time}' for time in SYNC_COLUMNS))},"
            f" CASE WHEN {removed} THEN 'remove' ELSE 'keep' END"
            f" FROM live a LEFT JOIN shown b ON a.{n} = b.{n} AND {sql.same_content('a', 'b')}"
            f" WHERE b.{n} IS NOT NULL OR NOT ({self._is_older('a')} AND {is_only_pair})"
            " UNION ALL"
            # 3. Shown without a live row of the same content: inserted, or the new version of an only pair.
            f" SELECT {sql.packed('a', self._started, _NEVER)},"
            f" CASE WHEN {is_only_pair} THEN 'update' ELSE 'insert' END"
            f" FROM shown a LEFT JOIN live b ON a.{n} = b.{n} AND {sql.same_content('a', 'b')}"
            f" WHERE b.{n} IS NULL AND {no_newer}"
        )

    def _count(self) -> Counts:
        files = [self._by_key, *([self._by_content] if self._has_shared_keys else [])]
        rows = " UNION ALL ".join(f"SELECT change FROM {_rows_of(file)}" for file in files)  # noqa: S608
        query = f"SELECT change, count(*) FROM ({rows}) GROUP BY change"  # noqa: S608
        counts = dict(self._connection.execute(query).fetchall())
        fetched = self._number("SELECT count(*) FROM loaded")
        inserted, updated = counts.get("insert", 0), counts.get("update", 0)
        unchanged = fetched - inserted - updated
        return Counts(fetched, inserted, updated, unchanged, counts.get("remove", 0), counts.get("delete", 0))

    def _changes(self) -> str:
        """The changes by key that are to be made."""
        kept = " WHERE change NOT IN ('remove', 'delete')" if self._discards_removals else ""
        return f"(SELECT * FROM {_rows_of(self._by_key)}{kept})"  # noqa: S608  # quoted names

    def _write(self, query: str, path: Path) -> None:
        target = duckdb_sql.text(duckdb_sql.path_text(path))
        self._connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd)")

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def _reader(self, query: str) -> pa.RecordBatchReader:
        batches = self._connection.sql(query).to_arrow_reader(_BATCH)
        return pa.RecordBatchReader.from_batches(self.schema, _cast_batches(batches, self.schema))


def _cast_batches(batches: Iterable[pa.RecordBatch], columns: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        arrays = [_cast(column, field) for column, field in zip(batch.columns, columns, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=columns)


def _rows_of(file: Path) -> str:
    return f"read_parquet({duckdb_sql.quoted_files([file])})"


def _rows_with_key_of_a(sql: RowSql, table: str) -> str:
    """How many rows of a table have the key of row `a`."""
    return f"(SELECT count(*) FROM {table} o WHERE {sql.same_key('o', 'a')})"  # noqa: S608  # quoted names


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column in its type in the table; DuckDB gives columns of nulls any type."""
    return pa.nulls(len(column), field.type) if column.null_count == len(column) else column.cast(field.type)
