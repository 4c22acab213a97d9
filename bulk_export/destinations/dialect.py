"""How a destination writes SQL: identifiers, types, and the few statements in which databases differ."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from bulk_export.destinations.tables import Column, Statement, Table

TIMESTAMP = pa.timestamp("us", "UTC")


class Dialect:
    """Standard SQL; each destination overrides where it differs.

    Attributes:
        name: The database as people call it.
        longest_identifier: How many bytes of UTF-8 a name may have.
        json_type: The type of columns that hold JSON texts, in which no digit or surrogate is lost.
        scalar_types: The types of single values, by Arrow type.
        key_type: The type of strings in a primary key, where that is another than elsewhere.
        key_suffix: What follows the columns of a primary key.
        holds_nul: Whether strings may hold U+0000.
        staging_is_temporary: Whether staging tables end with the connection, so that no statement drops them.
    """

    name: ClassVar[str]
    longest_identifier: ClassVar[int] = 63
    json_type: ClassVar[str]
    scalar_types: ClassVar[dict[pa.DataType, str]]
    key_type: ClassVar[str | None] = None
    key_suffix: ClassVar[str] = ""
    holds_nul: ClassVar[bool] = False
    staging_is_temporary: ClassVar[bool] = True

    def fold(self, name: str) -> str:
        """A name as the destination spells it."""
        return name

    def quote(self, identifier: str) -> str:
        """An identifier in quotes, whatever it holds."""
        return '"' + identifier.replace('"', '""') + '"'

    def table(self, name: str) -> str:
        """A table of the load's schema, quoted and qualified as statements need it."""
        return self.quote(name)

    def staging_table(self, name: str) -> str:
        """A staging table, quoted and qualified as statements need it."""
        return self.quote(name)

    def nested_type(self, type_: pa.DataType) -> str | None:
        """The type of a column of lists or objects, or None if they are kept as JSON."""
        del type_
        return None

    def column_type(self, column: Column) -> str:
        """The type of a column in a CREATE TABLE statement."""
        if column.key and self.key_type is not None and column.type == pa.string():
            return self.key_type
        if column.json:
            return self.json_type
        return self.scalar_types.get(column.type) or self.nested_type(column.type) or self.json_type

    def column_options(self, column: Column) -> str:
        """What follows the type of a column in a CREATE TABLE statement."""
        del column
        return ""

    def placeholder(self, position: int) -> str:
        """What stands for a parameter; the first is at position 1."""
        del position
        return "?"

    def staged_value(self, column: Column, value: str) -> str:
        """The value of a staging table as the table takes it."""
        del column
        return value

    def literal(self, text: str) -> str:
        """A text as a literal, for statements that take no parameters."""
        return "'" + text.replace("'", "''") + "'"

    def differs(self, column: Column, left: str, right: str) -> str:
        """A condition that two values of a column differ, nulls being equal to each other."""
        del column
        return f"{left} IS DISTINCT FROM {right}"

    def create_table(self, name: str, definitions: str) -> str:
        """The statement that creates a table, if it is not there, of its columns and key."""
        return f"CREATE TABLE IF NOT EXISTS {self.table(name)} ({definitions})"

    def is_widening(self, existing: str, wanted: str) -> bool:
        """Whether a column can get another type, both as `column_type` writes them, without losing anything."""
        del existing, wanted
        return False

    def alter_type(self, table: str, column: Column) -> str:
        """The statement that widens a column."""
        return f"ALTER TABLE {self.table(table)} ALTER COLUMN {self.quote(column.name)} TYPE {self.column_type(column)}"

    def add_column(self, table: str, column: Column) -> str:
        """The statement that adds a column, which is nullable since there are rows without it."""
        return f"ALTER TABLE {self.table(table)} ADD COLUMN {self.quote(column.name)} {self.column_type(column)}"

    def add_key(self, table: str, key: tuple[str, ...]) -> str:
        """The statement that gives a table its primary key."""
        return f"ALTER TABLE {self.table(table)} ADD PRIMARY KEY ({', '.join(map(self.quote, key))}){self.key_suffix}"

    def drop_staging(self, name: str) -> str:
        """The statement that drops a staging table."""
        return f"DROP TABLE IF EXISTS {self.staging_table(name)}"

    def update(self, target: str, staging: str, assignments: str, match: str, condition: str) -> str:
        """The statement that updates rows from a staging table, in which these are called `t` and `s`."""
        return f"UPDATE {target} AS t SET {assignments} FROM {staging} AS s WHERE {match} AND ({condition})"

    def delete(self, target: str, condition: str) -> str:
        """The statement that deletes rows of a table, which is called `t` in the condition."""
        return f"DELETE FROM {target} AS t WHERE {condition}"

    def comments(self, table: Table, description: str) -> tuple[Statement, ...]:
        """Statements that describe a new table and its columns to people."""
        del table, description
        return ()
