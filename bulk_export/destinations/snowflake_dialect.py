"""The SQL of Snowflake. Pure."""

from __future__ import annotations

import re
from typing import ClassVar

import pyarrow as pa

from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.tables import Column, Statement, Table
from bulk_export.transform.schema import EXTRA

# The comment of a table from its creation, which commits by itself, until its first load has committed too.
UNFINISHED = "Made by bulk-export; _BULK_EXPORT_LOADS says what it holds."
_PLAIN = re.compile(r'@"\w+"\."\w+"', re.ASCII)
_LONGEST_VARCHAR = re.compile(r"VARCHAR\([0-9]{8,}\)", re.ASCII)
_VARCHAR = re.compile(r"VARCHAR\([0-9]+\)", re.ASCII)
_INTEGER = re.compile(r"NUMBER\([0-9]+,0\)", re.ASCII)


class SnowflakeDialect(Dialect):
    """Snowflake's SQL: names are in upper case, so that nobody has to quote them; what is nested is VARIANT.

    `_extra` is a text, since VARIANT keeps neither more than 38 digits nor surrogates without a partner.

    Args:
        schema: The schema of the tables.
        suffix: What the names of this load's staging tables end with, so that they hide no table.
    """

    name = "Snowflake"
    longest_identifier = 255
    json_type = "VARIANT"
    # Snowflake takes it, and few programs that read from Snowflake do.
    holds_nul = False
    scalar_types: ClassVar[dict[pa.DataType, str]] = {
        pa.string(): "VARCHAR",
        pa.bool_(): "BOOLEAN",
        pa.int64(): "NUMBER(38,0)",
        pa.float64(): "FLOAT",
        TIMESTAMP: "TIMESTAMP_TZ(9)",
        pa.date32(): "DATE",
    }

    def __init__(self, schema: str, suffix: str) -> None:
        self.schema = schema
        self._suffix = suffix

    def fold(self, name: str) -> str:
        """A name in upper case."""
        return name.upper()

    def table(self, name: str) -> str:
        """A table of the load's schema."""
        return f"{self.quote(self.schema)}.{self.quote(name)}"

    def staging_table(self, name: str) -> str:
        """A temporary table of the schema."""
        return self.table(f"{name}_{self._suffix}")

    def stage(self, name: str) -> str:
        """A reference to a temporary stage with the files of a staging table, in quotes where Snowflake wants them."""
        reference = f"@{self.staging_table(name)}"
        return reference if _PLAIN.fullmatch(reference) else self.literal(reference)

    def column_type(self, column: Column) -> str:
        """The type of a column."""
        return "VARCHAR" if column.source == EXTRA else super().column_type(column)

    def staging_type(self, column: Column) -> str:
        """The type of a column of a staging table, in which what is nested is still JSON text."""
        return "VARCHAR" if column.json else self.column_type(column)

    def literal(self, text: str) -> str:
        """A text as a literal, in which a backslash begins an escape."""
        escaped = text.replace("\\", "\\\\").replace("'", "''")
        return f"'{escaped}'"

    def staged_value(self, column: Column, value: str) -> str:
        """A staged text as VARIANT, for columns of that type."""
        return f"PARSE_JSON({value})" if self._is_variant(column) else value

    def differs(self, column: Column, left: str, right: str) -> str:
        """Variants are compared by their texts, in which the members of an object have an order."""
        if self._is_variant(column):
            return f"TO_JSON({left}) IS DISTINCT FROM TO_JSON(PARSE_JSON({right}))"
        return super().differs(column, left, right)

    def create_table(self, name: str, definitions: str) -> str:
        """CREATE TABLE with a comment that tells an interrupted load from a table that somebody else made."""
        return f"{super().create_table(name, definitions)} COMMENT = {self.literal(UNFINISHED)}"

    def is_widening(self, existing: str, wanted: str) -> bool:
        """Whether a type gets longer integers or texts."""
        if wanted == "VARCHAR":
            return _VARCHAR.fullmatch(existing) is not None
        return wanted == "NUMBER(38,0)" and _INTEGER.fullmatch(existing) is not None

    def alter_type(self, table: str, column: Column) -> str:
        """The statement that widens a column."""
        return (
            f"ALTER TABLE {self.table(table)} ALTER COLUMN {self.quote(column.name)}"
            f" SET DATA TYPE {self.column_type(column)}"
        )

    def comments(self, table: Table, description: str) -> tuple[Statement, ...]:
        """Where the rows come from, and the source of each column."""
        target = self.table(table.name)
        return (
            Statement(f"COMMENT ON TABLE {target} IS {self.literal(description)}"),
            *(
                Statement(f"COMMENT ON COLUMN {target}.{self.quote(column.name)} IS {self.literal(column.origin)}")
                for column in table.columns
                if column.source
            ),
        )

    def _is_variant(self, column: Column) -> bool:
        return column.json and column.source != EXTRA


def existing_type(type_: str) -> str:
    """A type of the catalogue as this dialect writes it.

    >>> existing_type("VARCHAR(16777216)")
    'VARCHAR'
    """
    return "VARCHAR" if _LONGEST_VARCHAR.fullmatch(type_) else type_
