"""Loads into DuckDB and SQLite files: exactly once, atomically, with nothing lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export import load
from bulk_export.destinations.loads_table import NAME
from bulk_export.errors import BulkExportError, DamagedState, LocalFailure, UsageError
from tests.support.finished_exports import INSTANT, exported_table, write_export

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
EVERY_TYPE = (
    pa.field("flag", pa.bool_()),
    pa.field("count", pa.int64()),
    pa.field("rate", pa.float64()),
    pa.field("at", INSTANT),
    pa.field("day", pa.date32()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("items", pa.list_(pa.struct([("name", pa.string()), ("at", INSTANT)]))),
)
FULL_ROW: dict[str, Any] = {
    "id": "1",
    "type": "thing",
    "flag": True,
    "count": 2**62,
    "rate": 0.1,
    "at": AT,
    "day": date(2026, 2, 28),
    "tags": ["a", None, ""],
    "items": [{"name": 'q"\n', "at": AT}],
    "_extra": '{"n":1.10000000000000000001,"s":"\\udfff"}',
}


@pytest.fixture(params=["duckdb", "sqlite"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/file.{request.param}"


def rows(database: str, query: str) -> list[tuple[Any, ...]]:
    kind, _, path = database.partition("://")
    if kind == "duckdb":
        with duckdb.connect(path, read_only=True) as connection:
            return connection.execute(query).fetchall()
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def things(directory: Path, ids: dict[str, str], **more: Any) -> Path:
    """An export of `things` with these types by id."""
    table = exported_table([{"id": identity, "type": type_} for identity, type_ in ids.items()])
    return write_export(directory, {"things": table}, **more)


def held(database: str, table: str = "things") -> dict[str, str]:
    return dict(rows(database, f"SELECT id, type FROM {table}"))


def test_values_survive(database: str, tmp_path: Path) -> None:
    """Every type arrives with its value, and so does null."""
    table = exported_table([FULL_ROW, {"id": "2"}], *EVERY_TYPE)
    load(write_export(tmp_path / "export", {"every-type": table}), to=database)
    at, items = ('epoch_us("at")', "items[1].name") if database.startswith("duckdb") else ("at", "items")
    full, empty = rows(
        database,
        f'SELECT id, type, flag, "count", rate, {at}, day, tags, {items}, _extra FROM every_type ORDER BY id',
    )
    if database.startswith("duckdb"):
        assert full[5:9] == (
            int(AT.timestamp()) * 1_000_000 + 678_901,
            date(2026, 2, 28),
            ["a", None, ""],
            'q"\n',
        )
    else:
        assert full[5:9] == (
            "2026-01-02T03:04:05.678901Z",
            "2026-02-28",
            '["a",null,""]',
            '[{"name":"q\\"\\n","at":"2026-01-02T03:04:05.678901Z"}]',
        )
    assert full[:5] == ("1", "thing", True, 2**62, 0.1)
    assert full[9] == FULL_ROW["_extra"]
    assert empty == ("2", *[None] * 9)


def test_file_is_private(database: str, tmp_path: Path) -> None:
    """The file holds personal data: nobody else may read it, whatever the umask is."""
    before = os.umask(0o022)
    try:
        load(things(tmp_path / "export", {"1": "a"}), to=database)
    finally:
        os.umask(before)
    (file,) = tmp_path.glob("file.*")
    assert file.stat().st_mode & 0o777 == 0o600


def test_same_export_again(database: str, tmp_path: Path) -> None:
    """A repeated load changes nothing, and records nothing."""
    export = things(tmp_path / "export", {"1": "a"})
    assert [table.action for table in load(export, to=database).tables] == ["create"]
    assert [table.action for table in load(export, to=database).tables] == ["skip"]
    assert rows(database, f"SELECT count(*) FROM {NAME}") == [(1,)]


def test_only_differences_are_written(database: str, tmp_path: Path) -> None:
    """Replacing touches rows that differ, and the others keep what people attached to them."""
    load(things(tmp_path / "one", {"1": "a", "2": "b", "3": "c"}), to=database)
    (table,) = load(things(tmp_path / "two", {"1": "a", "2": "B", "4": "d"}), to=database).tables
    assert (table.inserted, table.updated, table.deleted) == (1, 1, 1)
    assert held(database) == {"1": "a", "2": "B", "4": "d"}


def test_upsert_keeps_other_rows(database: str, tmp_path: Path) -> None:
    """With upsert, rows that the export lacks stay."""
    load(things(tmp_path / "one", {"1": "a", "2": "b"}), to=database)
    load(things(tmp_path / "two", {"2": "B", "3": "c"}), to=database, mode="upsert")
    assert held(database) == {"1": "a", "2": "B", "3": "c"}


def test_filtered_export_needs_a_mode(database: str, tmp_path: Path) -> None:
    """An export of some records replaces nothing unless its user says so."""
    with pytest.raises(UsageError, match="filtered"):
        load(things(tmp_path / "one", {"1": "a"}, filters={"cohort": "2021"}), to=database)


def test_append(database: str, tmp_path: Path) -> None:
    """With append, each export's rows stand beside the others, under the id of their load."""
    for name in ("one", "two"):
        load(things(tmp_path / name, {"1": name}), to=database, mode="append", table_prefix="all_")
    assert sorted(rows(database, "SELECT type FROM all_things")) == [("one",), ("two",)]
    assert rows(database, "SELECT count(DISTINCT _load_id) FROM all_things") == [(2,)]


def test_shared_ids(database: str, tmp_path: Path) -> None:
    """Records that share their id are all loaded; the table then has no primary key."""
    table = exported_table([{"id": "1", "type": "a"}, {"id": "1", "type": "b"}])
    summary = load(write_export(tmp_path / "one", {"things": table}), to=database)
    assert "share their id" in summary.remarks[0]
    again = exported_table([{"id": "1", "type": "a"}, {"id": "1", "type": "c"}])
    load(write_export(tmp_path / "two", {"things": again}), to=database)
    assert sorted(rows(database, "SELECT type FROM things")) == [("a",), ("c",)]


def test_child_tables(database: str, tmp_path: Path) -> None:
    """Lists of objects become tables that follow their records."""

    def export(name: str, items: dict[str, list[str]]) -> Path:
        field = pa.field("items", pa.list_(pa.struct([("name", pa.string())])))
        records = [{"id": key, "items": [{"name": item} for item in value]} for key, value in items.items()]
        return write_export(tmp_path / name, {"things": exported_table(records, field)})

    def items() -> list[tuple[Any, ...]]:
        return rows(database, "SELECT _parent_id, _position, name FROM things_items ORDER BY 1, 2")

    load(export("one", {"1": ["x", "y"], "2": ["z"]}), to=database, nested="child-tables")
    assert items() == [("1", 0, "x"), ("1", 1, "y"), ("2", 0, "z")]
    load(export("two", {"1": ["y"], "3": ["w"]}), to=database, nested="child-tables", mode="upsert")
    assert items() == [("1", 0, "y"), ("2", 0, "z"), ("3", 0, "w")]
    load(export("three", {"1": []}), to=database, nested="child-tables")
    assert items() == []


def test_views_survive(database: str, tmp_path: Path) -> None:
    """A view on a table goes on working, since the table is never dropped."""
    load(things(tmp_path / "one", {"1": "a"}), to=database)
    kind, _, path = database.partition("://")
    connection: Any = duckdb.connect(path) if kind == "duckdb" else sqlite3.connect(path)
    connection.execute("CREATE VIEW kept AS SELECT id, type FROM things")
    connection.commit() if kind == "sqlite" else None
    connection.close()
    load(things(tmp_path / "two", {"2": "b"}), to=database)
    assert held(database, "kept") == {"2": "b"}


def test_new_column(database: str, tmp_path: Path) -> None:
    """A column that a later export has is added."""
    load(things(tmp_path / "one", {"1": "a"}), to=database)
    wider = exported_table([{"id": "1", "new": 5}], pa.field("new", pa.int64()))
    load(write_export(tmp_path / "two", {"things": wider}), to=database)
    assert rows(database, "SELECT id, new FROM things") == [("1", 5)]


def test_damaged_export_changes_nothing(database: str, tmp_path: Path) -> None:
    """If the last part turns out to be damaged, the tables of the load before are as they were."""
    load(things(tmp_path / "one", {"1": "a"}), to=database)
    export = things(tmp_path / "two", {str(number): "b" for number in range(100)}, parts=2)
    part = export / "things/part-00001.parquet"
    part.write_bytes(part.read_bytes()[::-1])
    with pytest.raises(DamagedState):
        load(export, to=database)
    assert held(database) == {"1": "a"}


def test_directory_that_is_not_there(database: str, tmp_path: Path) -> None:
    """A file in a directory that does not exist is an error of this machine."""
    export = things(tmp_path / "one", {"1": "a"})
    with pytest.raises(LocalFailure):
        load(export, to=database.replace("/file.", "/nowhere/file."))


def test_file_of_something_else(database: str, tmp_path: Path) -> None:
    """A file of another kind is not written to."""
    path = Path(database.partition("://")[2])
    path.write_bytes(b"not a database, but somebody's thesis" * 100)
    with pytest.raises(BulkExportError):
        load(things(tmp_path / "one", {"1": "a"}), to=database)
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("step", ["INSERT INTO", "UPDATE", "COMMIT"])
def test_killed_loads(database: str, tmp_path: Path, step: str) -> None:
    """A load that is killed changes nothing, and the next one does all of it."""
    load(things(tmp_path / "one", {"1": "a", "2": "b"}), to=database)
    export = things(tmp_path / "two", {"2": "B", "3": "c"})
    script = (
        "import os, signal, sys\n"
        "from bulk_export import load\n"
        "from bulk_export.destinations.duckdb_file import DuckDBDestination\n"
        "from bulk_export.destinations.sqlite_file import SqliteDestination\n"
        "export, database, step = sys.argv[1:]\n"
        "class Killing:\n"
        "    def __init__(self, connection): self._connection = connection\n"
        "    def __getattr__(self, name): return getattr(self._connection, name)\n"
        "    def execute(self, sql, *parameters):\n"
        "        if sql.startswith(step) and not sql.startswith('INSERT INTO temp.'):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return self._connection.execute(sql, *parameters)\n"
        "for kind in (DuckDBDestination, SqliteDestination):\n"
        "    begin = kind.begin\n"
        "    def killing(self, begin=begin):\n"
        "        begin(self)\n"
        "        self._connection = Killing(self._connection)\n"
        "    kind.begin = killing\n"
        "load(export, to=database)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(export), database, step], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert held(database) == {"1": "a", "2": "b"}
    load(export, to=database)
    assert held(database) == {"2": "B", "3": "c"}


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\"'`;-[]"),
    min_size=1,
    max_size=80,
)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(NAMES, unique_by=str.casefold, min_size=1, max_size=4), prefix=NAMES)
def test_hostile_names(kind: str, names: list[str], prefix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever columns and prefixes are called, their names are names and never SQL."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    chosen = [name for name in names if name.casefold() not in {"id", "type", "_extra"}]
    database = f"{kind}://{tmp_path}/file"
    for value in ("a", "b"):
        table = exported_table(
            [{"id": "1", **dict.fromkeys(chosen, value)}], *(pa.field(name, pa.string()) for name in chosen)
        )
        load(write_export(tmp_path / value, {"things": table}), to=database, table_prefix=prefix)
    (name,) = rows(database, f"SELECT DISTINCT table_name FROM {NAME}")[0]
    quoted = '"' + name.replace('"', '""') + '"'
    (row,) = rows(database, f"SELECT * FROM {quoted}")
    assert row == ("1", None, *["b"] * len(chosen), None)


RECORDS = st.dictionaries(st.sampled_from("123456"), st.sampled_from("abc"))


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
@settings(max_examples=6, deadline=None)
@given(loads=st.lists(st.tuples(RECORDS, st.sampled_from(["replace", "upsert"])), min_size=1, max_size=5))
def test_any_series_of_loads(
    kind: str, loads: list[tuple[dict[str, str], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After any series of loads, the table is what the series says."""
    tmp_path = tmp_path_factory.mktemp("series")
    database = f"{kind}://{tmp_path}/file"
    expected: dict[str, str] = {}
    for number, (records, mode) in enumerate(loads):
        load(things(tmp_path / str(number), records, number=number), to=database, mode=mode)
        expected = records if mode == "replace" else expected | records
        assert held(database) == expected


def test_file_that_another_process_writes(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the file, a load is refused and changes nothing; it never mixes with others."""
    load(things(tmp_path / "one", {"1": "a"}), to=database)
    monkeypatch.setattr("bulk_export.destinations.sqlite_file._SECONDS_TO_WAIT", 0.01)
    kind, _, path = database.partition("://")
    holding = "BEGIN IMMEDIATE" if kind == "sqlite" else "SELECT 1"
    program = f"import {kind}{'3' * (kind == 'sqlite')} as driver, sys\n"
    program += f"c = driver.connect(sys.argv[1]); c.execute({holding!r}); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UsageError, match="Another process"):
            load(things(tmp_path / "two", {"2": "b"}), to=database)
        holder.communicate()
    assert held(database) == {"1": "a"}
