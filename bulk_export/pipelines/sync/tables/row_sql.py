"""SQL expressions over rows of a table with any columns: keys, contents, and rows packed into one value.

All names are quoted, and a view is always named before a column, since an attribute may have any name.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bulk_export.output import duckdb_sql
from bulk_export.output.duckdb_sql import name as quoted
from bulk_export.pipelines.sync.tables.schema import SYNC_COLUMNS, ColumnPath
from bulk_export.transform import schema

_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
    pa.date32(): "DATE",
}


@dataclass(frozen=True, slots=True)
class RowSql:
    """Expressions for rows with the columns of `schema`, of which those of `key` identify a row."""

    schema: pa.Schema
    key: tuple[ColumnPath, ...]

    @property
    def attributes(self) -> list[str]:
        """The columns that come from the service; sync adds the others."""
        return [name for name in self.schema.names if name not in SYNC_COLUMNS]

    def select(self, files: Sequence[Path], available: Container[str], *, with_sync_columns: bool) -> str:
        """The rows of files in the types of the table; NULL for columns that are not `available` in the files."""
        names = [*self.attributes, *(SYNC_COLUMNS if with_sync_columns else ())]
        source = duckdb_sql.read_parquet(files) if files else "(SELECT 1 LIMIT 0)"
        columns = ", ".join(
            f"CAST({f's.{quoted(name)}' if name in available and files else 'NULL'} AS"
            f" {_sql_type(self.schema.field(name).type)}) AS {quoted(name)}"
            for name in names
        )
        return f"SELECT {columns} FROM {source} s"  # noqa: S608  # quoted names

    def key_value(self, view: str, path: ColumnPath) -> str:
        """One value of the key; NULL for an empty text, which a null id is read as and which identifies nothing."""
        value = ".".join([view, *map(quoted, path)])
        type_: pa.DataType = pa.struct(list(self.schema))
        for name in path:
            type_ = type_.field(name).type
        return f"nullif({value}, '')" if pa.types.is_string(type_) else value

    def key_columns(self, view: str) -> str:
        """The values of the key as columns k0, k1, …"""
        return ", ".join(f"{self.key_value(view, path)} AS k{number}" for number, path in enumerate(self.key))

    def has_key(self, view: str) -> str:
        """Whether a row of an outer join was found; its key is NULL if it was not."""
        return f"{self.key_value(view, self.key[0])} IS NOT NULL"

    def lacks_key(self, view: str) -> str:
        """Whether a value of a row's key is missing."""
        return "(" + " OR ".join(f"{self.key_value(view, path)} IS NULL" for path in self.key) + ")"

    def same_key(self, view: str, other: str) -> str:
        """Whether two rows have the same key, which a row without a key has with no other."""
        return " AND ".join(f"{self.key_value(view, path)} = {self.key_value(other, path)}" for path in self.key)

    def key_in(self, table: str, view: str) -> str:
        """Whether a row's key is in a table with the columns of `key_columns`."""
        same = " AND ".join(f"{table}.k{number} = {self.key_value(view, path)}" for number, path in enumerate(self.key))
        return f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608  # quoted names

    def repeated_keys(self, view: str) -> str:
        """The query for the keys that several rows of a view have."""
        return f"SELECT {self.key_columns(view)} FROM {view} GROUP BY ALL HAVING count(*) > 1"  # noqa: S608

    def same_content(self, view: str, other: str) -> str:
        """Whether two rows have the same attributes, nulls included."""
        return " AND ".join(
            f"{view}.{quoted(name)} IS NOT DISTINCT FROM {other}.{quoted(name)}" for name in self.attributes
        )

    def packed(self, view: str, synced_at: str, removed_at: str) -> str:
        """A row as one struct column, `record`, so that no attribute can clash with the columns beside it."""
        members = [f"{quoted(name)} := {view}.{quoted(name)}" for name in self.attributes]
        members += [f"{schema.SYNCED_AT} := {synced_at}", f"{schema.REMOVED_AT} := {removed_at}"]
        return f'struct_pack({", ".join(members)}) AS "record"'

    def unpacked(self, view: str) -> str:
        """The columns of a packed row."""
        return ", ".join(f"{view}.record.{quoted(name)} AS {quoted(name)}" for name in self.schema.names)


def _sql_type(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"{_sql_type(type_.value_type)}[]"
    if pa.types.is_struct(type_):
        return "STRUCT(" + ", ".join(f"{quoted(member.name)} {_sql_type(member.type)}" for member in type_) + ")"
    return _SQL_TYPES[type_]
