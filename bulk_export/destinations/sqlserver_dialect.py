"""The SQL of SQL Server and Azure SQL. Pure."""

from __future__ import annotations

import re
from typing import ClassVar

import pyarrow as pa

from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.tables import Column, ExistingColumn, Statement, Table

# Keys are compared by code unit: the collation of most databases takes "a" and "A" for the same id.
KEY_COLLATION = "Latin1_General_100_BIN2"
_LONGEST_DESCRIPTION = 3000
_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_TEXT = re.compile(r"n?(?:var)?char\((?:\d+|max)\)")


class SQLServerDialect(Dialect):
    """T-SQL. Staging tables are ordinary ones, since bulk copy uses a connection of its own.

    Args:
        schema: The schema of the tables.
        suffix: What the names of this load's staging tables end with, so that no two loads share one.
    """

    name = "SQL Server"
    # In characters, of which a name of so many bytes has no more.
    longest_identifier = 128
    json_type = "nvarchar(max)"
    # 900 bytes, the most that the key of a clustered index may have.
    key_type = f"nvarchar(450) COLLATE {KEY_COLLATION}"
    holds_nul = False
    staging_is_temporary = False
    scalar_types: ClassVar[dict[pa.DataType, str]] = {
        pa.string(): "nvarchar(max)",
        pa.bool_(): "bit",
        pa.int64(): "bigint",
        pa.float64(): "float",
        TIMESTAMP: "datetimeoffset(6)",
        pa.date32(): "date",
    }

    def __init__(self, schema: str, suffix: str) -> None:
        self.schema = schema
        self._suffix = suffix

    def quote(self, identifier: str) -> str:
        """An identifier in brackets, which mean the same whatever the session's settings are."""
        return f"[{identifier.replace(']', ']]')}]"

    def table(self, name: str) -> str:
        """A table of the load's schema."""
        return f"{self.quote(self.schema)}.{self.quote(name)}"

    def staging_table(self, name: str) -> str:
        """A staging table of this load, beside the tables."""
        return self.table(f"{name}_{self._suffix}")

    def literal(self, text: str) -> str:
        """A text as a literal of Unicode."""
        doubled = text.replace("'", "''")
        return f"N'{doubled}'"

    def differs(self, column: Column, left: str, right: str) -> str:
        """EXCEPT takes nulls for equal. Texts are compared by their bytes, and their lengths since zeros pad bytes."""
        if column.json or column.type == pa.string():
            left, right = _bytes(left), _bytes(right)
        return f"EXISTS (SELECT {left} EXCEPT SELECT {right})"

    def create_table(self, name: str, definitions: str) -> str:
        """CREATE TABLE behind a condition."""
        table = self.table(name)
        return f"IF OBJECT_ID({self.literal(table)}) IS NULL CREATE TABLE {table} ({definitions})"

    def is_widening(self, existing: str, wanted: str) -> bool:
        """Whether a type gets longer integers, floats or texts."""
        if existing in _INTEGERS and wanted in _INTEGERS:
            return _INTEGERS.index(existing) < _INTEGERS.index(wanted)
        if wanted == "nvarchar(max)":
            return _TEXT.fullmatch(existing) is not None
        return (existing, wanted) == ("real", "float")

    def alter_type(self, table: str, column: Column) -> str:
        """The whole column is defined again: without NOT NULL it would lose it."""
        required = "NULL" if column.nullable else "NOT NULL"
        return (
            f"ALTER TABLE {self.table(table)} ALTER COLUMN {self.quote(column.name)}"
            f" {self.column_type(column)} {required}"
        )

    def add_column(self, table: str, column: Column) -> str:
        """T-SQL adds a column without the word."""
        return f"ALTER TABLE {self.table(table)} ADD {self.quote(column.name)} {self.column_type(column)} NULL"

    def update(self, target: str, staging: str, assignments: str, match: str, condition: str) -> str:
        """UPDATE names its table in FROM."""
        return f"UPDATE t SET {assignments} FROM {target} AS t INNER JOIN {staging} AS s ON {match} WHERE {condition}"

    def delete(self, target: str, condition: str) -> str:
        """DELETE names its table in FROM."""
        return f"DELETE t FROM {target} AS t WHERE {condition}"

    def comments(self, table: Table, description: str) -> tuple[Statement, ...]:
        """Extended properties, which tools show as descriptions."""
        return (
            self._description(table.name, None, description),
            *(self._description(table.name, column.name, column.origin) for column in table.columns if column.source),
        )

    def _description(self, table: str, column: str | None, text: str) -> Statement:
        of_column = "" if column is None else f", @level2type = N'COLUMN', @level2name = {self.literal(column)}"
        return Statement(
            f"EXEC sys.sp_addextendedproperty @name = N'MS_Description',"
            f" @value = {self.literal(text[:_LONGEST_DESCRIPTION])},"
            f" @level0type = N'SCHEMA', @level0name = {self.literal(self.schema)},"
            f" @level1type = N'TABLE', @level1name = {self.literal(table)}{of_column}"
        )


def _bytes(text: str) -> str:
    return f"CAST({text} AS varbinary(max)), DATALENGTH({text})"


def existing_column(
    name: str, type_: str, bytes_: int, scale: int, collation: str | None, *, nullable: bool
) -> ExistingColumn:
    """A column as the catalogue describes it, with its type as this dialect writes it.

    Args:
        name: Its name.
        type_: Its type's name.
        bytes_: The most bytes of a value, -1 for no limit.
        scale: Digits of a fraction.
        collation: How its texts are compared.
        nullable: Whether it may be null.

    >>> existing_column("id", "nvarchar", 900, 0, KEY_COLLATION, nullable=False).type
    'nvarchar(450) COLLATE Latin1_General_100_BIN2'
    """
    if type_ in ("nvarchar", "varchar", "nchar", "char"):
        length = "max" if bytes_ < 0 else str(bytes_ // 2 if type_.startswith("n") else bytes_)
        limited = "" if bytes_ < 0 or collation != KEY_COLLATION else f" COLLATE {collation}"
        type_ = f"{type_}({length}){limited}"
    elif type_ in ("datetimeoffset", "datetime2", "time"):
        type_ = f"{type_}({scale})"
    return ExistingColumn(name, type_, nullable)
