"""The SQL and the job configurations of BigQuery. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

import pyarrow as pa

from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.tables import Column, Statement, Table

# The description of a table from its creation, which is in no transaction, until its first load has been published.
UNFINISHED = "Made by bulk-export; _bulk_export_loads says what it holds."
_QUOTED = r"`(?:[^`\\]|\\.)*`"
_DESCRIPTION = re.compile(rf"ALTER TABLE {_QUOTED}\.{_QUOTED}\.{_QUOTED} SET OPTIONS ", re.DOTALL)
_ESCAPES = {ord(character): f"\\{character}" for character in "\\`'\""} | {ord("\n"): "\\n", ord("\r"): "\\r"}
# How long BigQuery lets a job run.
_LONGEST_JOB = {"jobTimeoutMs": str(6 * 3600 * 1000)}
# Types of the catalogue, which has the names of an older SQL.
_CATALOGUE = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}


class BigQueryDialect(Dialect):
    """BigQuery's SQL. What is nested is a text: JSON changes numbers, and arrays hold no nulls.

    Args:
        project: The project of the dataset.
        dataset: The dataset of the tables.
        suffix: What the names of this load's staging tables end with, so that no other load has them.
    """

    name = "BigQuery"
    longest_identifier = 300
    json_type = "STRING"
    key_suffix = " NOT ENFORCED"
    scalar_types: ClassVar[dict[pa.DataType, str]] = {
        pa.string(): "STRING",
        pa.bool_(): "BOOL",
        pa.int64(): "INT64",
        pa.float64(): "FLOAT64",
        TIMESTAMP: "TIMESTAMP",
        pa.date32(): "DATE",
    }

    def __init__(self, project: str, dataset: str, suffix: str) -> None:
        self.project = project
        self.dataset = dataset
        self._suffix = suffix

    def quote(self, identifier: str) -> str:
        """An identifier in backticks, between which a backslash begins an escape."""
        return f"`{identifier.translate(_ESCAPES)}`"

    def literal(self, text: str) -> str:
        """A text as a literal, in which a backslash begins an escape."""
        return f"'{text.translate(_ESCAPES)}'"

    def table(self, name: str) -> str:
        """A table of the dataset."""
        return f"{self.quote(self.project)}.{self.quote(self.dataset)}.{self.quote(name)}"

    def staging_name(self, name: str) -> str:
        """The name of a staging table, which no other load has."""
        return f"{name}_{self._suffix}"

    def staging_table(self, name: str) -> str:
        """A staging table of the dataset."""
        return self.table(self.staging_name(name))

    def column_options(self, column: Column) -> str:
        """The source of a column: to describe columns later would take a limited operation for each."""
        return f" OPTIONS (description = {self.literal(column.origin)})" if column.source else ""

    def create_table(self, name: str, definitions: str) -> str:
        """CREATE TABLE with a description that tells an interrupted load from a table that somebody else made."""
        return f"{super().create_table(name, definitions)} OPTIONS (description = {self.literal(UNFINISHED)})"

    def create_staging(self, name: str, columns: Iterable[Column]) -> str:
        """The statement that creates a staging table, which BigQuery removes after a day if no load does."""
        defined = ", ".join(
            f"{self.quote(column.name)} {self.column_type(column)}{'' if column.nullable else ' NOT NULL'}"
            for column in columns
        )
        expires = "TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)"
        return f"CREATE TABLE {self.staging_table(name)} ({defined}) OPTIONS (expiration_timestamp = {expires})"

    def alter_type(self, table: str, column: Column) -> str:
        """The statement that changes the type of a column."""
        return (
            f"ALTER TABLE {self.table(table)} ALTER COLUMN {self.quote(column.name)}"
            f" SET DATA TYPE {self.column_type(column)}"
        )

    def comments(self, table: Table, description: str) -> tuple[Statement, ...]:
        """Where the rows come from."""
        text = self.literal(description)
        return (Statement(f"ALTER TABLE {self.table(table.name)} SET OPTIONS (description = {text})"),)


def is_description(sql: str) -> bool:
    """Whether a statement is one of `BigQueryDialect.comments`."""
    return _DESCRIPTION.match(sql) is not None


def existing_type(type_: str) -> str:
    """A type of the catalogue as this dialect writes it.

    >>> existing_type("INTEGER")
    'INT64'
    """
    return _CATALOGUE.get(type_, type_)


def load_configuration(columns: Iterable[Column], dialect: BigQueryDialect) -> dict[str, Any]:
    """The configuration of a job that appends a Parquet file to a staging table."""
    fields = [
        {
            "name": column.name,
            "type": dialect.column_type(column),
            "mode": "NULLABLE" if column.nullable else "REQUIRED",
        }
        for column in columns
    ]
    return {
        "load": {
            "sourceFormat": "PARQUET",
            "createDisposition": "CREATE_NEVER",
            "writeDisposition": "WRITE_APPEND",
            "schema": {"fields": fields},
        },
        **_LONGEST_JOB,
    }


def query_configuration(parameters: Mapping[str, object]) -> dict[str, Any]:
    """The configuration of a job that runs statements with named parameters, which are texts, numbers and instants."""
    query: dict[str, Any] = {"useLegacySql": False}
    if parameters:
        query["parameterMode"] = "NAMED"
        query["queryParameters"] = [_parameter(name, value) for name, value in parameters.items()]
    return {"query": query, **_LONGEST_JOB}


def _parameter(name: str, value: object) -> dict[str, Any]:
    type_ = "INT64" if isinstance(value, int) else "TIMESTAMP" if isinstance(value, datetime) else "STRING"
    return {"name": name, "parameterType": {"type": type_}, "parameterValue": {"value": str(value)}}
