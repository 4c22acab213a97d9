"""The SQL of a load's transaction: creating tables, and moving rows from staging tables into them. Pure.

Tables are never dropped or emptied, so that views, grants and foreign keys on them survive and readers see the old rows
until the commit. Where rows have a key, only those that differ are touched.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.tables import Column, Counted, Statement, Table


class Removal(enum.Enum):
    """Which rows of a table go, because the staging table lacks their key.

    NOTHING   none
    OTHERS    all others
    ORPHANS   for a child table: those of parents that the parent's staging table has
    """

    NOTHING = "nothing"
    OTHERS = "others"
    ORPHANS = "orphans"


@dataclass(frozen=True, slots=True)
class Staged:
    """Staging tables of one table: its rows; for a child table, the parent's and the column of its key.

    A new table that has its rows already has none.
    """

    rows: str
    parents: str = ""
    parent_key: str = ""


def create_table(table: Table, dialect: Dialect) -> str:
    """The statement that creates a table with its primary key, if it is not there."""
    lines = [_column(column, dialect) for column in table.columns]
    if table.key:
        lines.append(f"PRIMARY KEY ({', '.join(map(dialect.quote, table.key))}){dialect.key_suffix}")
    return dialect.create_table(table.name, ", ".join(lines))


def _column(column: Column, dialect: Dialect) -> str:
    required = "" if column.nullable else " NOT NULL"
    return f"{dialect.quote(column.name)} {dialect.column_type(column)}{required}{dialect.column_options(column)}"


def merge_rows(table: Table, staged: Staged, removal: Removal, dialect: Dialect) -> list[Statement]:
    """The statements that bring staged rows into a table.

    Args:
        table: The table.
        staged: Its staging tables.
        removal: Which rows go.
        dialect: The destination's.

    Returns:
        At most three statements: rows that go, rows that change, rows that come. Without a key, all rows are deleted
        if any are to go, and all staged ones are inserted.
    """
    target, staging = dialect.table(table.name), dialect.staging_table(staged.rows)
    names = ", ".join(dialect.quote(column.name) for column in table.columns)
    values = _staged_values(table, dialect)
    if not table.key:
        deletion = Statement(dialect.delete(target, "1 = 1"), table.name, Counted.DELETED)
        insertion = f"INSERT INTO {target} ({names}) SELECT {values} FROM {staging} AS s"
        return [*([] if removal is Removal.NOTHING else [deletion]), Statement(insertion, table.name, Counted.INSERTED)]
    match = _match(table.key, "t", "s", dialect)
    statements = []
    if condition := _gone(table, staged, removal, dialect):
        statements.append(Statement(dialect.delete(target, condition), table.name, Counted.DELETED))
    others = [column for column in table.columns if column.name not in table.key]
    if others:
        quoted = [(column, dialect.quote(column.name)) for column in others]
        assignments = ", ".join(f"{name} = {dialect.staged_value(column, f's.{name}')}" for column, name in quoted)
        differs = " OR ".join(dialect.differs(column, f"t.{name}", f"s.{name}") for column, name in quoted)
        statements.append(
            Statement(dialect.update(target, staging, assignments, match, differs), table.name, Counted.UPDATED)
        )
    insertion = (
        f"INSERT INTO {target} ({names}) SELECT {values} FROM {staging} AS s"
        f" WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {match})"
    )
    return [*statements, Statement(insertion, table.name, Counted.INSERTED)]


def append_rows(table: Table, staged: Staged, dialect: Dialect) -> list[Statement]:
    """The statement that inserts all staged rows."""
    names = ", ".join(dialect.quote(column.name) for column in table.columns)
    insertion = (
        f"INSERT INTO {dialect.table(table.name)} ({names})"
        f" SELECT {_staged_values(table, dialect)} FROM {dialect.staging_table(staged.rows)} AS s"
    )
    return [Statement(insertion, table.name, Counted.INSERTED)]


def count_shared_keys(table: str, key: tuple[str, ...], dialect: Dialect) -> str:
    """A query for the number of rows of a table, quoted, beyond the first of each key, and of rows without one."""
    columns = ", ".join(map(dialect.quote, key))
    missing = " OR ".join(f"{dialect.quote(name)} IS NULL" for name in key)
    return (
        f"SELECT (SELECT COUNT(*) FROM {table}) - (SELECT COUNT(*) FROM (SELECT DISTINCT {columns} FROM {table}) AS d)"
        f" + (SELECT COUNT(*) FROM {table} WHERE {missing})"
    )


def count_after_upsert(table: Table, staging: str, dialect: Dialect) -> str:
    """A query for the number of rows that a table with a key will have once staged rows are merged and none is gone."""
    target, staged = dialect.table(table.name), dialect.staging_table(staging)
    match = _match(table.key, "t", "s", dialect)
    return (
        f"SELECT (SELECT COUNT(*) FROM {target})"
        f" + (SELECT COUNT(*) FROM {staged} AS s WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {match}))"
    )


def _gone(table: Table, staged: Staged, removal: Removal, dialect: Dialect) -> str:
    def lacks(staging: str) -> str:
        match = _match(table.key, "t", "s", dialect)
        return f"NOT EXISTS (SELECT 1 FROM {dialect.staging_table(staging)} AS s WHERE {match})"

    if removal is Removal.NOTHING:
        return ""
    if removal is Removal.OTHERS:
        return lacks(staged.rows)
    parents = dialect.staging_table(staged.parents)
    owner, parent = dialect.quote(table.key[0]), dialect.quote(staged.parent_key)
    return f"t.{owner} IN (SELECT p.{parent} FROM {parents} AS p) AND {lacks(staged.rows)}"


def _staged_values(table: Table, dialect: Dialect) -> str:
    return ", ".join(dialect.staged_value(column, f"s.{dialect.quote(column.name)}") for column in table.columns)


def _match(key: tuple[str, ...], left: str, right: str, dialect: Dialect) -> str:
    return " AND ".join(f"{left}.{dialect.quote(name)} = {right}.{dialect.quote(name)}" for name in key)
