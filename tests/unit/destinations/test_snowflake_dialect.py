"""The SQL of a load into Snowflake, as text, and what its connector is given."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.destinations.address import parse_address
from bulk_export.destinations.changes import Action, Origin, decide
from bulk_export.destinations.snowflake import connection_arguments
from bulk_export.destinations.snowflake_dialect import UNFINISHED, SnowflakeDialect
from bulk_export.destinations.statements import Removal, Staged, create_table, merge_rows
from bulk_export.destinations.table_plan import plan_tables
from bulk_export.destinations.tables import ExistingColumn, ExistingTable, LoadSettings, Mode, Table
from bulk_export.errors import UsageError
from tests.support.finished_exports import EXTRA, ID, INSTANT

DIALECT = SnowflakeDialect("PUBLIC", "5FFE")
FIELDS = (
    pa.field("lead", pa.bool_()),
    pa.field("size", pa.int64()),
    pa.field("share", pa.float64()),
    pa.field("at", INSTANT),
    pa.field("day", pa.date32()),
    pa.field("parts", pa.list_(pa.string())),
)


def planned(*fields: pa.Field, dialect: SnowflakeDialect = DIALECT, endpoint: str = "things") -> Table:
    settings = LoadSettings(Mode.REPLACE)
    return plan_tables({endpoint: pa.schema([ID, *fields, EXTRA])}, settings, dialect)[endpoint][0]


def test_create_table() -> None:
    """Names are in upper case; what is nested is VARIANT, and `_extra` a text."""
    assert create_table(planned(*FIELDS), DIALECT) == (
        'CREATE TABLE IF NOT EXISTS "PUBLIC"."THINGS" ("ID" VARCHAR NOT NULL, "LEAD" BOOLEAN, "SIZE" NUMBER(38,0),'
        ' "SHARE" FLOAT, "AT" TIMESTAMP_TZ(9), "DAY" DATE, "PARTS" VARIANT, "_EXTRA" VARCHAR, PRIMARY KEY ("ID"))'
        f" COMMENT = '{UNFINISHED}'"
    )


def test_merge_rows() -> None:
    """Variants are made of texts and compared as texts."""
    merged = merge_rows(planned(FIELDS[-1]), Staged("_BULK_EXPORT_STAGED_1"), Removal.OTHERS, DIALECT)
    staging, match = '"PUBLIC"."_BULK_EXPORT_STAGED_1_5FFE"', 't."ID" = s."ID"'
    deleted, updated, inserted = (statement.sql for statement in merged)
    assert deleted == (
        f'DELETE FROM "PUBLIC"."THINGS" AS t WHERE NOT EXISTS (SELECT 1 FROM {staging} AS s WHERE {match})'
    )
    assert updated == (
        'UPDATE "PUBLIC"."THINGS" AS t SET "PARTS" = PARSE_JSON(s."PARTS"), "_EXTRA" = s."_EXTRA"'
        f" FROM {staging} AS s WHERE {match}"
        ' AND (TO_JSON(t."PARTS") IS DISTINCT FROM TO_JSON(PARSE_JSON(s."PARTS"))'
        ' OR t."_EXTRA" IS DISTINCT FROM s."_EXTRA")'
    )
    assert inserted == (
        'INSERT INTO "PUBLIC"."THINGS" ("ID", "PARTS", "_EXTRA") SELECT s."ID", PARSE_JSON(s."PARTS"), s."_EXTRA"'
        f' FROM {staging} AS s WHERE NOT EXISTS (SELECT 1 FROM "PUBLIC"."THINGS" AS t WHERE {match})'
    )


def test_unfinished_table() -> None:
    """A table that an interrupted load left empty is taken, one that a person made is not."""
    table = planned()
    columns = tuple(ExistingColumn(column.name, "VARCHAR", column.nullable) for column in table.columns)
    origin, settings = Origin("export", "ab", "", "npq"), LoadSettings(Mode.REPLACE)
    unfinished = ExistingTable("THINGS", columns, ("ID",), unfinished=True)
    assert decide(table, unfinished, [], origin, settings, DIALECT).action is Action.REPLACE
    with pytest.raises(UsageError, match="did not make"):
        decide(table, ExistingTable("THINGS", columns, ("ID",)), [], origin, settings, DIALECT)


def test_widening() -> None:
    """Longer integers and texts lose nothing."""
    column = planned(pa.field("size", pa.int64())).columns[1]
    assert DIALECT.is_widening("NUMBER(19,0)", "NUMBER(38,0)")
    assert not DIALECT.is_widening("NUMBER(38,2)", "NUMBER(38,0)")
    assert DIALECT.is_widening("VARCHAR(10)", "VARCHAR")
    assert DIALECT.alter_type("THINGS", column) == (
        'ALTER TABLE "PUBLIC"."THINGS" ALTER COLUMN "SIZE" SET DATA TYPE NUMBER(38,0)'
    )


letters = st.sampled_from("ab\"'\\;-?%éß\u2028 ") | st.characters(exclude_characters="\0", exclude_categories=["Cs"])
names = st.text(letters, min_size=1, max_size=70)


@given(schema=names, endpoint=names, column=names)
def test_hostile_names(schema: str, endpoint: str, column: str) -> None:
    """With names and literals taken out, each statement is the one for harmless names."""
    hostile = SnowflakeDialect(schema, "5FFE")
    table = planned(pa.field(f"x{column}", pa.int64()), dialect=hostile, endpoint=endpoint)

    def statements(of: Table, dialect: SnowflakeDialect) -> list[str]:
        merged = merge_rows(of, Staged("_BULK_EXPORT_STAGED_1"), Removal.OTHERS, dialect)
        added = dialect.add_column(of.name, of.columns[1])
        texts = [create_table(of, dialect), added, *(s.sql for s in (*merged, *dialect.comments(of, endpoint)))]
        return [re.sub(r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"", "_", text, flags=re.DOTALL) for text in texts]

    assert statements(table, hostile) == statements(planned(pa.field("y", pa.int64())), DIALECT)


def test_stage() -> None:
    """A stage in a schema with an unusual name is in quotes."""
    assert DIALECT.stage("S_FILES") == '@"PUBLIC"."S_FILES_5FFE"'
    assert SnowflakeDialect("it's", "5FFE").stage("S_FILES") == """'@"it''s"."S_FILES_5FFE"'"""


def test_login() -> None:
    """Without a user the credentials are those of a connection of the connector's own file."""
    given = connection_arguments(parse_address("snowflake://acme-eu/npq?role=loader", {}), {})
    assert {
        "account": "acme-eu",
        "database": "npq",
        "role": "loader",
        "connection_name": "default",
    }.items() <= given.items()
    named = connection_arguments(
        parse_address("snowflake://acme-eu/npq", {}), {"SNOWFLAKE_DEFAULT_CONNECTION_NAME": "work"}
    )
    assert named["connection_name"] == "work"
    with_user = connection_arguments(parse_address("snowflake://ann@acme-eu/npq", {}, password="geheim"), {})
    assert (with_user["user"], with_user["password"], "connection_name" in with_user) == ("ann", "geheim", False)
    for wrong in ("snowflake://acme-eu", "snowflake:///npq", "snowflake://a/b/c", "snowflake://a/b?host=x"):
        with pytest.raises(UsageError):
            connection_arguments(parse_address(wrong, {}), {})
