"""The options of load: type, default and help of each, declared once."""

from __future__ import annotations

from typing import Annotated, TypedDict

from bulk_export.pipelines.arguments import PathText
from bulk_export.pipelines.choices import LoadMode, Nested, NulCharacter
from bulk_export.pipelines.declarations import Source, Trust, Where

MODES = ("replace", "upsert", "append")
NESTED = ("json", "child-tables")
NUL = ("fail", "replace")


class LoadArguments(TypedDict, total=False):
    """The options of a load into a database."""

    to: Annotated[
        str | None,
        Where(
            "Database: postgresql, duckdb, sqlite; mssql, snowflake and bigquery, not run against a real server by us;"
            " or env:NAME, a variable with its URL.",
            metavar="URL",
            trust=Trust.CONFIRMED,
        ),
    ]
    # Not in settings, where the name is that of an export's option.
    schema: Annotated[
        str | None,
        Where(
            "Schema of the tables.",
            metavar="NAME",
            default_text="the database's",
            sources=Source.LINE | Source.PYTHON,
        ),
    ]
    table_prefix: Annotated[str | None, Where("What the name of each table begins with.", metavar="TEXT")]
    mode: Annotated[
        LoadMode | None,
        Where(
            "What to do with rows that are there.",
            choices=MODES,
            default_text="replace for exports, upsert for copies",
            trust=Trust.OWNER,
        ),
    ]
    nested: Annotated[
        Nested, Where("Lists of objects: as JSON, or as tables of their own.", choices=NESTED, default=NESTED[0])
    ]
    nul: Annotated[
        NulCharacter,
        Where(
            "U+0000 in strings, where the database cannot hold it: an error, or U+FFFD.", choices=NUL, default=NUL[0]
        ),
    ]
    adopt: Annotated[bool, Where("Take over a table that something else made.", trust=Trust.OWNER)]
    password_file: Annotated[
        PathText | None, Where("File with the password of the database.", metavar="FILE", trust=Trust.CONFIRMED)
    ]
