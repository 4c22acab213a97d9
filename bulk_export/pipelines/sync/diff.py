"""What a poll changes in one table of a copy: rows to insert, to update and to mark as removed, found by DuckDB.

Every value is compared, not the time of the last update: the service shows changed records with an older one.
What a poll wrote that overtook this one is newer than what this one fetched, and stays.

Rows are matched by their key. Rows without one, and rows that share one, are matched by their whole content, each as
often as it is there: nothing is overwritten that may be another record. A change of such a row shows as a new row; the
old one stays until everything is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from bulk_export.core.units import format_instant
from bulk_export.errors import DamagedState
from bulk_export.output import duckdb_sql as database
from bulk_export.output.formats.reading import schema_of
from bulk_export.pipelines.sync.disk_room import out_of_room
from bulk_export.pipelines.sync.schema import OWN, UnfitColumns, united
from bulk_export.transform import schema
from bulk_export.transform.column_names import unused_name

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTRA = "delta"
_BATCH = 16_384
_ID_ALONE = ((schema.ID,),)
_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
    pa.date32(): "DATE",
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Records of one endpoint: how many were fetched, and what became of the copy.

    `deleted` are rows that an earlier poll had marked as removed, and that were taken out.
    """

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    deleted: int = 0

    @property
    def changes(self) -> int:
        """Rows of the copy that are new or others now."""
        return self.inserted + self.updated + self.removed + self.deleted


class TableDiff:
    """Compares files that a poll fetched with those that a table consists of now.

    `copied` is the table's schema, None while it does not exist; `key` are the columns that identify a row. With
    `finds_removed`, everything was fetched, so what is missing is gone; `earlier` are files of another full load, whose
    rows are there, too. With `deletes_marked`, rows that were marked as removed and are still not there are taken out.
    If the poll `is_overtaken`, rows written by those that started later stay. The outcome lies in `scratch` until
    `close`.
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
        key: Sequence[tuple[str, ...]] = _ID_ALONE,
        earlier: Sequence[Path] = (),
        deletes_marked: bool = False,
    ) -> None:
        self.key = tuple(key)
        self._current = current
        self._changes, self._shared = scratch / "changes.parquet", scratch / "shared.parquet"
        self._started = _instant(started_at)
        self._finds_removed = finds_removed
        self._deletes_marked = deletes_marked
        self._is_overtaken = is_overtaken
        self._older = f"c.{schema.SYNCED_AT} <= {self._started}" if is_overtaken else "true"
        self._keeps = False
        self._connection = database.connect(EXTRA, spill_to=scratch / "spilled")
        with self._readable():
            schemas = [schema_of(files[0]) for files in (fetched, earlier) if files]
            self.schema = united(copied, schemas[0])
            if earlier:
                self.schema = united(self.schema, schemas[1])
            self._columns = [name for name in self.schema.names if name not in OWN]
            self._define("c", current, set() if copied is None else set(copied.names), own=True)
            self._define("g", fetched, set(schemas[0].names))
            self._connection.execute("CREATE TEMP VIEW f AS SELECT * FROM g")
            if earlier:
                self._unite_with(earlier, set(schemas[1].names))
            self._find_shared_keys()
            self._compare()
            self.counts = self._count()
        self.rows_there = self._number("SELECT count(*) FROM c WHERE _removed_at IS NULL") if current else 0

    def close(self) -> None:
        """Let go of the database, and of the changes."""
        self._connection.close()
        self._changes.unlink(missing_ok=True)
        self._shared.unlink(missing_ok=True)

    def keep_missing(self) -> None:
        """Take nothing for removed after all, nor take out what was marked before: the load is not believed."""
        self._keeps = True
        self.counts = replace(self.counts, removed=0, deleted=0)

    @property
    def is_by_key(self) -> bool:
        """Whether each change is one of the only row with its key, so that the key is enough to find it."""
        return not self._changes_shared

    def changes(self) -> pa.RecordBatchReader:
        """The rows that are new or others now; removed ones have the time at which that was found."""
        return self._reader(f"SELECT {self._unpacked()} FROM {self._made()} x")  # noqa: S608  # quoted names

    def merged(self, *, delete_removed: bool) -> pa.RecordBatchReader:
        """All rows of the table as it is to be."""
        gone = " WHERE x.change NOT IN ('remove', 'delete')" if delete_removed else " WHERE x.change <> 'delete'"
        selects = [f"SELECT {self._unpacked()} FROM {self._made()} x{gone}"]  # noqa: S608  # quoted names
        if self._current:
            kept = ", ".join(f"c.{database.name(column)}" for column in self.schema.names)
            selects.insert(
                0,
                f"SELECT {kept} FROM c ANTI JOIN {self._made()} x ON {self._same_key('c', 'x.record')}"  # noqa: S608
                f" WHERE NOT {self._is_shared('c')}",
            )
        if self._shares:
            shared = f"read_parquet({database.quoted_files([self._shared])})"
            change = "'keep'" if self._keeps else "x.change"
            removed = f"({change} = 'remove')"
            columns = ", ".join(
                f"CASE WHEN {removed} THEN {self._started} ELSE x.record.{column} END AS {column}"
                if column in OWN
                else f"x.record.{database.name(column)} AS {database.name(column)}"
                for column in self.schema.names
            )
            gone = "('remove', 'delete')" if delete_removed else "('delete')"
            selects.append(f"SELECT {columns} FROM {shared} x WHERE {change} NOT IN {gone}")  # noqa: S608
        return self._reader(" UNION ALL ".join(selects))

    def _define(self, view: str, files: Sequence[Path], there: set[str], *, own: bool = False) -> None:
        """A view of files with the columns of the table, in their types."""
        names = [*self._columns, *(OWN if own else ())]
        source = database.read_parquet(files) if files else "(SELECT 1 LIMIT 0)"
        columns = ", ".join(
            f"CAST({f's.{database.name(name)}' if name in there and files else 'NULL'} AS"
            f" {_sql_type(self.schema.field(name).type)}) AS {database.name(name)}"
            for name in names
        )
        self._connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {columns} FROM {source} s")  # noqa: S608

    def _unite_with(self, earlier: Sequence[Path], there: set[str]) -> None:
        """Add the rows of an earlier load that the later one lacks: by key, or by content where that is no key."""
        self._define("e", earlier, there)
        self._connection.execute(f"CREATE TEMP TABLE shared AS {self._repeated('e')}")
        self._shares = True
        shared = self._is_shared("e")
        self._connection.execute(
            "CREATE TEMP TABLE missed AS"  # noqa: S608  # quoted names
            f" SELECT e.* FROM e ANTI JOIN g ON {self._same_key('e', 'g')} WHERE NOT {shared}"
            f" UNION ALL (SELECT e.* FROM e WHERE {shared} EXCEPT ALL SELECT * FROM g)"
        )
        self._connection.execute("DROP TABLE shared")
        self._connection.execute("CREATE OR REPLACE TEMP VIEW f AS SELECT * FROM g UNION ALL SELECT * FROM missed")

    def _repeated(self, view: str) -> str:
        """The query for the keys that several rows have."""
        parts = ", ".join(f"{self._part(view, path)} AS k{number}" for number, path in enumerate(self.key))
        return f"SELECT {parts} FROM {view} GROUP BY ALL HAVING count(*) > 1"  # noqa: S608  # quoted names

    def _find_shared_keys(self) -> None:
        """Note the keys that several rows have on one side, and whether any row has none."""
        self._connection.execute(f"CREATE TEMP TABLE shared AS {self._repeated('f')} UNION {self._repeated('c')}")
        without = [f"EXISTS (SELECT 1 FROM {view} WHERE {self._keyless(view)})" for view in "fc"]  # noqa: S608
        self._shares = bool(self._number(f"SELECT EXISTS (SELECT 1 FROM shared) OR {' OR '.join(without)}"))  # noqa: S608
        self._changes_shared = False

    def _compare(self) -> None:
        differs = " OR ".join(
            f"f.{database.name(column)} IS DISTINCT FROM c.{database.name(column)}" for column in self._columns
        )
        found = f"{self._part('c', self.key[0])} IS NOT NULL"
        start = self._started
        alone = "true" if not self._shares else f"NOT {self._is_shared('f')}"
        alone_there = "true" if not self._shares else f"NOT {self._is_shared('c')}"
        marked = f"c.{schema.REMOVED_AT} IS NOT NULL"
        changed = (
            f"SELECT {self._packed('f', start, 'NULL::TIMESTAMPTZ')},"  # noqa: S608  # quoted names
            f" CASE WHEN {found} THEN 'update' ELSE 'insert' END AS change"
            f" FROM f LEFT JOIN c ON {self._same_key('f', 'c')}"
            f" WHERE {alone} AND (NOT ({found}) OR ({self._older} AND ({marked} OR {differs})))"
        )
        selects = [changed]
        if self._current and self._finds_removed:
            missing = f"FROM c ANTI JOIN f ON {self._same_key('c', 'f')} WHERE {alone_there} AND {self._older}"
            selects.append(f"SELECT {self._packed('c', start, start)}, 'remove' {missing} AND NOT {marked}")
            if self._deletes_marked:
                times = (f"c.{schema.SYNCED_AT}", f"c.{schema.REMOVED_AT}")
                selects.append(f"SELECT {self._packed('c', *times)}, 'delete' {missing} AND {marked}")
        self._write(" UNION ALL ".join(selects), self._changes)
        if self._shares:
            self._write(self._compare_shared(), self._shared)
            change = f"SELECT EXISTS (SELECT 1 FROM {self._read(self._shared)} x WHERE x.change <> 'keep')"  # noqa: S608
            self._changes_shared = bool(self._number(change))

    def _compare_shared(self) -> str:
        """All rows whose key is no key, as they are to be, and what became of each.

        Rows of the same content are paired one by one. A key that only one live row of the copy and one fetched row
        have is one again, whatever is marked as removed beside them.
        """
        columns = ", ".join(database.name(name) for name in self._columns)
        n = unused_name("n", self._columns)
        same = " AND ".join(
            f"a.{database.name(name)} IS NOT DISTINCT FROM b.{database.name(name)}" for name in self._columns
        )

        def with_key(table: str) -> str:
            return f"(SELECT count(*) FROM {table} o WHERE {self._same_key('o', 'a')})"  # noqa: S608  # quoted names

        pair = f"({with_key('live')} = 1 AND {with_key('shown')} = 1)"
        older = f"a.{schema.SYNCED_AT} <= {self._started}" if self._is_overtaken else "true"
        newer = f"{with_key('newer')} = 0" if self._is_overtaken else "true"
        removed = f"b.{n} IS NULL AND {older}" if self._finds_removed else "false"
        marked = "'delete'" if self._deletes_marked and self._finds_removed else "'keep'"
        times = (schema.SYNCED_AT, schema.REMOVED_AT)
        return (
            f"WITH shown AS (SELECT *, row_number() OVER (PARTITION BY {columns}) AS {n} FROM f"  # noqa: S608
            f" WHERE {self._is_shared('f')}),"
            f" live AS (SELECT *, row_number() OVER (PARTITION BY {columns} ORDER BY {schema.SYNCED_AT}) AS {n} FROM c"
            f" WHERE c.{schema.REMOVED_AT} IS NULL AND {self._is_shared('c')}),"
            f" newer AS (SELECT * FROM live WHERE {schema.SYNCED_AT} > {self._started})"
            f" SELECT {self._packed('c', *(f'c.{time}' for time in times))}, {marked} AS change"
            f" FROM c WHERE c.{schema.REMOVED_AT} IS NOT NULL AND {self._is_shared('c')}"
            " UNION ALL"
            f" SELECT {self._packed('a', *(f'a.{time}' for time in times))},"
            f" CASE WHEN {removed} THEN 'remove' ELSE 'keep' END"
            f" FROM live a LEFT JOIN shown b ON a.{n} = b.{n} AND {same}"
            f" WHERE b.{n} IS NOT NULL OR NOT ({older} AND {pair})"
            " UNION ALL"
            f" SELECT {self._packed('a', self._started, 'NULL::TIMESTAMPTZ')},"
            f" CASE WHEN {pair} THEN 'update' ELSE 'insert' END"
            f" FROM shown a LEFT JOIN live b ON a.{n} = b.{n} AND {same} WHERE b.{n} IS NULL AND {newer}"
        )

    def _count(self) -> Counts:
        sources = [self._read(self._changes)] + ([self._read(self._shared)] if self._shares else [])
        rows = " UNION ALL ".join(f"SELECT change FROM {source}" for source in sources)  # noqa: S608  # quoted names
        found = dict(self._connection.execute(f"SELECT change, count(*) FROM ({rows}) GROUP BY change").fetchall())  # noqa: S608
        total = self._number("SELECT count(*) FROM f")
        inserted, updated = found.get("insert", 0), found.get("update", 0)
        return Counts(
            total, inserted, updated, total - inserted - updated, found.get("remove", 0), found.get("delete", 0)
        )

    def _write(self, query: str, place: Path) -> None:
        target = database.text(database.path_text(place))
        self._connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd)")

    def _packed(self, view: str, synced_at: str, removed_at: str) -> str:
        """A row in a column of its own, so that no attribute can have the name of what is said beside it."""
        members = [f"{database.name(name)} := {view}.{database.name(name)}" for name in self._columns]
        members += [f"{schema.SYNCED_AT} := {synced_at}", f"{schema.REMOVED_AT} := {removed_at}"]
        return f'struct_pack({", ".join(members)}) AS "record"'

    def _unpacked(self) -> str:
        return ", ".join(f"x.record.{database.name(name)} AS {database.name(name)}" for name in self.schema.names)

    def _made(self) -> str:
        """The changes by key that are made."""
        kept = " WHERE change NOT IN ('remove', 'delete')" if self._keeps else ""
        return f"(SELECT * FROM {self._read(self._changes)}{kept})"  # noqa: S608  # quoted names

    def _read(self, file: Path) -> str:
        return f"read_parquet({database.quoted_files([file])})"

    def _part(self, view: str, path: Sequence[str]) -> str:
        """A value of the key; an empty text, as an id that was null has, identifies nothing, like no value."""
        value = ".".join([view, *map(database.name, path)])
        type_: pa.DataType = pa.struct(list(self.schema))
        for name in path:
            type_ = type_.field(name).type
        return f"nullif({value}, '')" if pa.types.is_string(type_) else value

    def _same_key(self, one: str, other: str) -> str:
        return " AND ".join(f"{self._part(one, path)} = {self._part(other, path)}" for path in self.key)

    def _keyless(self, view: str) -> str:
        return "(" + " OR ".join(f"{self._part(view, path)} IS NULL" for path in self.key) + ")"

    def _is_shared(self, view: str) -> str:
        if not self._shares:
            return "false"
        same = " AND ".join(f"shared.k{number} = {self._part(view, path)}" for number, path in enumerate(self.key))
        return f"({self._keyless(view)} OR EXISTS (SELECT 1 FROM shared WHERE {same}))"  # noqa: S608  # quoted names

    def _number(self, query: str) -> int:
        found = self._connection.execute(query).fetchone()
        return int(found[0]) if found else 0

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
        except UnfitColumns as error:
            self.close()
            raise DamagedState(
                f"What was fetched does not fit into the copy: {error}.",
                kept="Nothing was changed.",
                next_step="Run the same command again: it is fetched anew.",
            ) from None
        except (database.failures(), ValueError, OSError) as error:  # their texts may quote values
            self.close()
            if (failure := out_of_room(error, self._changes.parent)) is not None:
                raise failure from None
            raise DamagedState(
                f"The tables of the copy cannot be compared ({type(error).__name__}).",
                kept="Nothing was changed.",
                next_step="Restore them from a backup, or remove the directory of the damaged one: the next sync"
                " fetches it whole.",
            ) from None


def _instant(moment: datetime) -> str:
    return f"TIMESTAMPTZ {database.text(format_instant(moment))}"


def _sql_type(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"{_sql_type(type_.value_type)}[]"
    if pa.types.is_struct(type_):
        return "STRUCT(" + ", ".join(f"{database.name(one.name)} {_sql_type(one.type)}" for one in type_) + ")"
    return _SQL_TYPES[type_]


def _as(column: pa.Array, field: pa.Field) -> pa.Array:
    """A column as it is to be written; one that is missing on one side comes as nulls of any type."""
    return pa.nulls(len(column), field.type) if column.null_count == len(column) else column.cast(field.type)
