"""Loads into a real PostgreSQL server: typed, atomic, exactly once, with readers that never wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export import load
from bulk_export.destinations import postgres as destination
from bulk_export.destinations.loads_table import NAME
from bulk_export.errors import LocalFailure, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.load import load as load_options
from bulk_export.pipelines.load_options import LoadOptions
from tests.support.finished_exports import EXTRA, ID, INSTANT, exported_table, write_export
from tests.support.postgres_server import DATABASE, PASSWORD, USER, PostgresServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
dbapi = pytest.importorskip("adbc_driver_postgresql.dbapi")

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


class Warehouse:
    """A schema of its own on the server."""

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self.server = server
        self.schema = schema
        self.variables = {"WAREHOUSE": server.url_with_password}

    def load(self, directory: Path, **changes: Any) -> Any:
        return load_options(self.options(directory, **changes), pause=lambda _: None)

    def options(self, directory: Path, **changes: Any) -> LoadOptions:
        given: dict[str, Any] = {"to": "env:WAREHOUSE", "schema": self.schema} | changes
        return LoadOptions.of(directory, environ=self.variables, **given)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        opened = dbapi.connect(self.server.url_with_password, autocommit=True)
        with opened as connection, connection.cursor() as cursor:
            cursor.execute(f'SET search_path = "{self.schema}"')
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def held(self, table: str = "things") -> dict[str, str]:
        return dict(self.run(f"SELECT id, type FROM {table}"))


@pytest.fixture
def warehouse(postgres: PostgresServer, request: pytest.FixtureRequest) -> Warehouse:
    return Warehouse(postgres, f"s{abs(hash(request.node.nodeid))}")


def things(directory: Path, ids: dict[str, str], **more: Any) -> Path:
    table = exported_table([{"id": identity, "type": type_} for identity, type_ in ids.items()])
    return write_export(directory, {"things": table}, **more)


def test_values_survive(warehouse: Warehouse, tmp_path: Path) -> None:
    """Every type arrives as its own, with its value; `_extra` keeps each digit and surrogate."""
    fields = (
        pa.field("flag", pa.bool_()),
        pa.field("count", pa.int64()),
        pa.field("rate", pa.float64()),
        pa.field("at", INSTANT),
        pa.field("day", pa.date32()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("days", pa.list_(pa.date32())),
        pa.field("item", pa.struct([("name", pa.string())])),
        pa.field("items", pa.list_(pa.struct([("name", pa.string()), ("at", INSTANT)]))),
    )
    extra = '{"n":1.10000000000000000001,"s":"\\udfff", "z":"\\u0000"}'
    row = {
        "id": "1",
        "type": "thing",
        "flag": True,
        "count": -(2**63),
        "rate": 0.1,
        "at": AT,
        "day": date(2026, 2, 28),
        "tags": ["a", None, "", 'q"{},\\'],
        "days": [date(1, 1, 1)],
        "item": {"name": "'"},
        "items": [{"name": 'q"\n', "at": AT}],
        "_extra": extra,
    }
    warehouse.load(write_export(tmp_path / "export", {"every-type": exported_table([row, {"id": "2"}], *fields)}))
    types = dict(
        warehouse.run(
            "SELECT column_name, coalesce(nullif(data_type, 'ARRAY'), udt_name) FROM information_schema.columns"
            f" WHERE table_schema = '{warehouse.schema}' AND table_name = 'every_type'"
        )
    )
    assert types == {
        "id": "text",
        "type": "text",
        "flag": "boolean",
        "count": "bigint",
        "rate": "double precision",
        "at": "timestamp with time zone",
        "day": "date",
        "tags": "_text",
        "days": "_date",
        "item": "json",
        "items": "json",
        "_extra": "json",
    }
    full, empty = warehouse.run(
        "SELECT id, type, flag, \"count\", rate, at, day, tags, days, item->>'name', items->0->>'at', _extra::text"
        " FROM every_type ORDER BY id"
    )
    assert full == (
        *[row[name] for name in ("id", "type", "flag", "count", "rate", "at", "day", "tags", "days")],
        "'",
        "2026-01-02T03:04:05.678901Z",
        extra,
    )
    assert empty == ("2", *[None] * 11)


def test_table_has_key_and_comments(warehouse: Warehouse, tmp_path: Path) -> None:
    """The id is the primary key, and comments say where rows and columns come from."""
    warehouse.load(things(tmp_path / "one", {"1": "a"}))
    with pytest.raises(Exception, match="things_pkey"):
        warehouse.run("INSERT INTO things (id) VALUES ('1')")
    with pytest.raises(Exception, match="not-null"):
        warehouse.run("INSERT INTO things (type) VALUES ('1')")
    assert warehouse.run("SELECT obj_description('things'::regclass), col_description('things'::regclass, 1)") == [
        ("things of npq v3 at https://service.example", "id: string")
    ]


def test_records_that_share_their_id(warehouse: Warehouse, tmp_path: Path) -> None:
    """A new table of records that share their id has no primary key, and the next load replaces all its rows."""
    for name, rows in (("one", ["a", "b"]), ("two", ["b", "c", "d"])):
        table = exported_table([{"id": "1", "type": type_} for type_ in rows])
        done = warehouse.load(write_export(tmp_path / name, {"things": table}))
        assert done.tables[0].inserted == len(rows)
        assert warehouse.run("SELECT type FROM things ORDER BY type") == [(type_,) for type_ in rows]
    assert warehouse.run("SELECT count(*) FROM pg_constraint WHERE conrelid = 'things'::regclass") == [(0,)]


def test_child_tables(warehouse: Warehouse, tmp_path: Path) -> None:
    """A list of objects becomes a table, which a person may drop: the next load makes it again beside its parent."""
    items = pa.field("items", pa.list_(pa.struct([("name", pa.string())])))
    for name, held in (("one", ["a", "b"]), ("two", ["c"]), ("three", ["d", "e"])):
        table = exported_table([{"id": "1", "items": [{"name": item} for item in held]}, {"id": "2"}], items)
        warehouse.load(write_export(tmp_path / name, {"things": table}), nested="child-tables")
        found = warehouse.run("SELECT _parent_id, _position, name FROM things_items ORDER BY _position")
        assert found == [("1", position, item) for position, item in enumerate(held)]
        if name == "two":
            warehouse.run("DROP TABLE things_items")
    with pytest.raises(Exception, match="things_items_pkey"):
        warehouse.run("INSERT INTO things_items SELECT * FROM things_items")


def test_modes(warehouse: Warehouse, tmp_path: Path) -> None:
    """Replace, upsert and append do what they say, and a repetition does nothing."""
    first, second = things(tmp_path / "one", {"1": "a", "2": "b"}), things(tmp_path / "two", {"2": "B", "3": "c"})
    warehouse.load(first)
    assert [table.action for table in warehouse.load(first).tables] == ["skip"]
    (table,) = warehouse.load(second, mode="upsert").tables
    assert (table.inserted, table.updated, table.deleted) == (1, 1, 0)
    (table,) = warehouse.load(first, mode="replace").tables
    assert (table.inserted, table.updated, table.deleted) == (0, 1, 1)
    assert warehouse.held() == {"1": "a", "2": "b"}
    for export in (first, second, first):
        warehouse.load(export, mode="append", table_prefix="all_")
    assert warehouse.run("SELECT count(*) FROM all_things") == [(4,)]


def test_what_depends_on_a_table_survives(warehouse: Warehouse, tmp_path: Path) -> None:
    """Views, grants, and rows of others that refer to rows which stay, go through a replacement unharmed."""
    warehouse.load(things(tmp_path / "one", {"1": "a", "2": "b"}))
    warehouse.run("CREATE VIEW kept AS SELECT id, type FROM things")
    warehouse.run("GRANT SELECT ON things TO PUBLIC")
    warehouse.run("CREATE TABLE notes (thing text REFERENCES things ON DELETE CASCADE, note text)")
    warehouse.run("INSERT INTO notes VALUES ('1', 'stays'), ('2', 'goes')")
    warehouse.load(things(tmp_path / "two", {"1": "A", "3": "c"}))
    assert warehouse.held("kept") == {"1": "A", "3": "c"}
    assert warehouse.run("SELECT note FROM notes") == [("stays",)]
    assert warehouse.run("SELECT relacl::text LIKE '%=r/%' FROM pg_class WHERE oid = 'things'::regclass") == [(True,)]


def test_constraint_of_a_person(warehouse: Warehouse, tmp_path: Path) -> None:
    """A foreign key that forbids the deletion of a row is the reason given; no value is quoted."""
    warehouse.load(things(tmp_path / "one", {"secret": "a", "2": "b"}))
    warehouse.run("CREATE TABLE notes (thing text REFERENCES things)")
    warehouse.run("INSERT INTO notes VALUES ('secret')")
    with pytest.raises(UsageError, match="notes_thing_fkey") as raised:
        warehouse.load(things(tmp_path / "two", {"2": "b"}))
    assert "secret" not in "".join(raised.value.lines())
    assert warehouse.held() == {"secret": "a", "2": "b"}


def test_readers_never_wait(warehouse: Warehouse, tmp_path: Path) -> None:
    """Readers see all of the old rows or all of the new ones, at once, even in the middle of a transaction."""
    size = 3_000
    old = things(tmp_path / "one", {str(number): "old" for number in range(size)})
    new = things(tmp_path / "two", {str(number): "new" for number in range(size)})
    warehouse.load(old)
    seen: set[tuple[Any, ...]] = set()
    done = threading.Event()

    def read() -> None:
        opened = dbapi.connect(warehouse.server.url_with_password, autocommit=True)
        with opened as connection, connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1ms'")
            while not done.is_set():
                cursor.execute(f'SELECT min(type), max(type), count(*) FROM "{warehouse.schema}".things')
                seen.update(cursor.fetchall())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for export in (new, old, new):
            warehouse.load(export)
    finally:
        done.set()
        reader.join()
    assert seen <= {("old", "old", size), ("new", "new", size)}
    assert seen


def test_columns_grow(warehouse: Warehouse, tmp_path: Path) -> None:
    """New columns are added and integers widened; another type is refused with the statement that changes it."""
    warehouse.run(f'CREATE SCHEMA "{warehouse.schema}"')
    warehouse.run('CREATE TABLE things (id text PRIMARY KEY, type varchar(10), "n" integer, _extra json)')
    wide = exported_table(
        [{"id": "1", "n": 2**40, "more": "x"}], pa.field("n", pa.int64()), pa.field("more", pa.string())
    )
    export = write_export(tmp_path / "one", {"things": wide})
    with pytest.raises(UsageError, match="did not make"):
        warehouse.load(export)
    warehouse.load(export, adopt=True)
    assert warehouse.run("SELECT n, more FROM things") == [(2**40, "x")]
    other = write_export(
        tmp_path / "two", {"things": exported_table([{"id": "1", "n": 1.5}], pa.field("n", pa.float64()))}
    )
    with pytest.raises(UsageError) as raised:
        warehouse.load(other)
    assert 'ALTER COLUMN "n" TYPE double precision' in raised.value.next_step
    warehouse.run(raised.value.next_step.partition("run: ")[2])
    warehouse.load(other, adopt=True)
    assert warehouse.run("SELECT n FROM things") == [(1.5,)]


def test_statement_a_person_may_run(warehouse: Warehouse, tmp_path: Path) -> None:
    """The statement that a refusal shows works, also where PostgreSQL converts nothing by itself."""
    warehouse.load(things(tmp_path / "one", {"1": "7"}))
    field = pa.field("type", pa.struct([("a", pa.int64())]))
    table = pa.Table.from_pylist([{"id": "1", "type": {"a": 1}}], pa.schema([ID, field, EXTRA]))
    export = write_export(tmp_path / "two", {"things": table})
    with pytest.raises(UsageError, match="as text, and the load needs json") as raised:
        warehouse.load(export)
    warehouse.run(raised.value.next_step.partition("run: ")[2])
    warehouse.load(export)
    assert warehouse.run("SELECT type->>'a' FROM things") == [("1",)]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"password": "wrong"}, ServiceRefused, "password authentication failed"),
        ({"path": "nowhere"}, ServiceRefused, "does not exist"),
        ({"port": 1}, ServiceFailing, "refused"),
    ],
)
def test_no_connection(
    warehouse: Warehouse, tmp_path: Path, change: dict[str, Any], error: type[Exception], says: str
) -> None:
    """A wrong password, a database or server that is not there: each is told apart, without the password."""
    options = warehouse.options(things(tmp_path / "one", {"1": "a"}))
    with pytest.raises(error, match=says) as raised:
        load_options(replace(options, address=replace(options.address, **change)), pause=lambda _: None)
    assert PASSWORD not in str(raised.value)
    assert "wrong" not in str(raised.value)


def test_missing_right(warehouse: Warehouse, tmp_path: Path) -> None:
    """A user who may not write to the schema is told so."""
    warehouse.run(f'CREATE SCHEMA "{warehouse.schema}"')
    name = f"r{warehouse.schema}"
    warehouse.run(f"CREATE ROLE {name} LOGIN PASSWORD 'pw'")
    warehouse.run(f'GRANT USAGE ON SCHEMA "{warehouse.schema}" TO {name}')
    options = warehouse.options(things(tmp_path / "one", {"1": "a"}))
    with pytest.raises(ServiceRefused, match="permission denied"):
        load_options(replace(options, address=replace(options.address, user=name, password="pw")))


def test_password_file_of_libpq(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own places work: here PGPASSFILE."""
    monkeypatch.setenv("PGPASSFILE", str(warehouse.server.passfile))
    load(things(tmp_path / "one", {"1": "a"}), to=warehouse.server.url, schema=warehouse.schema)
    assert warehouse.held() == {"1": "a"}


def test_two_loads_at_once(warehouse: Warehouse, tmp_path: Path) -> None:
    """The second load waits for the first, and then sees what it did."""
    exports = [things(tmp_path / name, {"1": name, name: "x"}) for name in ("one", "two")]
    threads = [threading.Thread(target=warehouse.load, args=(export,)) for export in exports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warehouse.held() in ({"1": "one", "one": "x"}, {"1": "two", "two": "x"})
    assert warehouse.run(f"SELECT count(*) FROM {NAME}") == [(2,)]


def test_load_that_waits_too_long(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load does not wait for ever for another one."""
    monkeypatch.setattr(destination, "_PATIENCE", "10ms")
    with closing(dbapi.connect(warehouse.server.url_with_password)) as holder, closing(holder.cursor()) as cursor:
        lock = f"hashtextextended('bulk-export load into {warehouse.schema}', 0)"
        cursor.execute(f"SELECT pg_advisory_lock({lock})")
        with pytest.raises(UsageError, match="Another load"):
            warehouse.load(things(tmp_path / "one", {"1": "a"}))


@pytest.mark.parametrize("step", ["fill", "copy", "stage", "count", "publish", "commit"])
@pytest.mark.parametrize("loses", ["loader", "server"])
def test_killed_at_any_step(warehouse: Warehouse, tmp_path: Path, step: str, loses: str) -> None:
    """A loader that is killed, or whose connection the server ends, has changed nothing; the next load does all."""
    if step != "fill":
        warehouse.load(things(tmp_path / "one", {"1": "a", "2": "b"}))
    export = things(tmp_path / "two", {"2": "B", "3": "c"})
    script = (
        "import os, signal, sys\n"
        "import adbc_driver_postgresql.dbapi as dbapi\n"
        "from bulk_export.destinations.postgres import PostgresDestination\n"
        "from bulk_export.pipelines import load\n"
        "from bulk_export.pipelines.load_options import LoadOptions\n"
        "export, schema, step, loses = sys.argv[1:]\n"
        "left = [1]\n"
        "def strike(destination):\n"
        "    if not left: return\n"
        "    left.clear()\n"
        "    if loses == 'loader': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    with dbapi.connect(os.environ['WAREHOUSE'], autocommit=True) as other:\n"
        "        with other.cursor() as cursor:\n"
        "            cursor.execute(f'SELECT pg_terminate_backend({destination.pid}, 5000)'); cursor.fetchall()\n"
        "begin = PostgresDestination.begin\n"
        "def beginning(self):\n"
        "    begin(self)\n"
        "    self.pid = self._value('SELECT pg_backend_pid()')\n"
        "PostgresDestination.begin = beginning\n"
        "if step == 'commit':\n"
        "    publish = PostgresDestination.publish\n"
        "    def publishing(self, statements, conclude):\n"
        "        def concluding(changed):\n"
        "            strike(self)\n"
        "            return conclude(changed)\n"
        "        publish(self, statements, concluding)\n"
        "    PostgresDestination.publish = publishing\n"
        "elif step in ('copy', 'fill'):\n"
        "    name = 'stage' if step == 'copy' else 'fill'\n"
        "    copy = getattr(PostgresDestination, name)\n"
        "    def copying(self, *given):\n"
        "        def struck():\n"
        "            for batch in given[-1]:\n"
        "                strike(self)\n"
        "                yield batch\n"
        "        return copy(self, *given[:-1], struck())\n"
        "    setattr(PostgresDestination, name, copying)\n"
        "else:\n"
        "    method = getattr(PostgresDestination, step)\n"
        "    def striking(self, *arguments):\n"
        "        result = None if step == 'publish' else method(self, *arguments)\n"
        "        strike(self)\n"
        "        return method(self, *arguments) if step == 'publish' else result\n"
        "    setattr(PostgresDestination, step, striking)\n"
        "load.load(LoadOptions.of(export, to='env:WAREHOUSE', schema=schema), pause=lambda _: None)\n"
    )
    environment = os.environ | warehouse.variables
    run = subprocess.run(
        [sys.executable, "-c", script, str(export), warehouse.schema, step, loses],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if loses == "loader":
        assert run.returncode == -signal.SIGKILL, run.stderr
        if step == "fill":
            assert warehouse.run("SELECT to_regclass('things')") == [(None,)]
        else:
            assert warehouse.held() == {"1": "a", "2": "b"}
        warehouse.load(export)
    else:
        # The load itself starts again.
        assert run.returncode == 0, run.stderr
    assert warehouse.held() == {"2": "B", "3": "c"}
    assert warehouse.run(f"SELECT count(*) FROM {NAME}") == [(1 if step == "fill" else 2,)]


def test_memory_stays_flat(warehouse: Warehouse, tmp_path: Path) -> None:
    """Rows are read as the server takes them: never more than a few batches are in memory."""
    held = [0]
    most = [0]

    class Counting(destination.PostgresDestination):
        def stage(self, name: str, columns: Any, batches: Any) -> int:
            def watched() -> Iterator[pa.RecordBatch]:
                for batch in batches:
                    held[0] += 1
                    most[0] = max(most[0], pa.total_allocated_bytes())
                    yield batch

            return super().stage(name, columns, watched())

    before = pa.total_allocated_bytes()
    text = "x" * 1_000
    warehouse.load(things(tmp_path / "zero", {"0": "a"}))
    export = things(tmp_path / "one", {f"{number:06}": text for number in range(60_000)}, parts=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(destination, "PostgresDestination", Counting)
        warehouse.load(export)
    assert held[0] > 3
    assert most[0] - before < 60_000 * 1_000 / 1.5


def test_reader_in_the_middle(warehouse: Warehouse, tmp_path: Path) -> None:
    """A reader's transaction that began before a load sees the old rows to its end, and does not hold the load up."""
    warehouse.load(things(tmp_path / "one", {"1": "old"}))
    with closing(dbapi.connect(warehouse.server.url_with_password)) as reader, closing(reader.cursor()) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        query = f'SELECT id, type FROM "{warehouse.schema}".things'
        for export in ("two", "three"):
            cursor.execute(query)
            assert cursor.fetchall() == [("1", "old")]
            warehouse.load(things(tmp_path / export, {export: "new"}))
    assert warehouse.held() == {"three": "new"}


STATES = [
    ("53100", LocalFailure, "lacks room"),
    ("40P01", ServiceFailing, "got in the way"),
    ("25006", ServiceRefused, "does not allow"),
    ("57014", ServiceRefused, "cancelled"),
    ("23514", UsageError, "refuses the change"),
    ("55000", UsageError, "refuses the change"),
    ("P0001", UsageError, "refuses the change"),
    ("XX000", LocalFailure, "failed"),
]


@pytest.mark.parametrize(("state", "error", "says"), STATES)
def test_failures_of_the_server(
    warehouse: Warehouse, tmp_path: Path, state: str, error: type[Exception], says: str
) -> None:
    """What a server fails with, a full disk among it, changes nothing, and no message quotes a value."""
    warehouse.load(things(tmp_path / "one", {"1": "a"}))
    warehouse.run(
        "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it was %', NEW.type"
        f" USING ERRCODE = '{state}', DETAIL = NEW.type, HINT = NEW.type; END $$"
    )
    warehouse.run("CREATE TRIGGER failing BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION fails()")
    with pytest.raises(error, match=says) as raised:
        warehouse.load(things(tmp_path / "two", {"1": "b", "2": "hidden"}))
    assert "hidden" not in "".join(raised.value.args)
    assert raised.value.__cause__ is None
    assert warehouse.held() == {"1": "a"}


def test_limits_of_a_role(warehouse: Warehouse, tmp_path: Path) -> None:
    """What a role has for people's short queries neither ends a load nor lets it see the past."""
    warehouse.load(things(tmp_path / "zero", {"0": "a"}), mode="append")
    role = f"r{warehouse.schema}"
    warehouse.run(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'pw'")
    for setting in ("statement_timeout = '40s'", "default_transaction_isolation = 'repeatable read'"):
        warehouse.run(f"ALTER ROLE {role} SET {setting}")
    warehouse.run("ALTER TABLE things ADD CHECK (current_setting('statement_timeout') = '0') NOT VALID")
    options = warehouse.options(things(tmp_path / "one", {"1": "a"}), mode="append")
    options = replace(options, address=replace(options.address, user=role, password="pw"))
    threads = [threading.Thread(target=load_options, args=(options,)) for _ in range(2)]
    opened = dbapi.connect(warehouse.server.url_with_password, autocommit=True)
    with opened as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock(hashtextextended('bulk-export load into {warehouse.schema}', 0))")
        for thread in threads:
            thread.start()
        # Both have begun, and wait.
        waiting = [(0,)]
        while waiting != [(2,)]:
            assert all(thread.is_alive() for thread in threads)
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            waiting = cursor.fetchall()
        cursor.execute("SELECT pg_advisory_unlock_all()")
        for thread in threads:
            thread.join()
    assert warehouse.held() == {"0": "a", "1": "a"}
    assert warehouse.run("SELECT count(*) FROM things") == [(2,)]


def test_other_encoding(warehouse: Warehouse, tmp_path: Path) -> None:
    """A database with another encoding gets the characters it has, and no load with others."""
    name = f"latin_{warehouse.schema}"
    warehouse.run(f"CREATE DATABASE {name} ENCODING LATIN1 TEMPLATE template0 LOCALE 'C'")
    elsewhere = replace(warehouse.options(tmp_path).address, path=name)
    for text in ("é", "\u20ac"):
        options = replace(warehouse.options(things(tmp_path / text, {"1": text})), address=elsewhere)
        if text == "é":
            load_options(options)
        else:
            with pytest.raises(UsageError, match="encoding"):
                load_options(options)
    url = warehouse.server.url_with_password.rpartition("/")[0]
    with dbapi.connect(f"{url}/{name}?client_encoding=UTF8") as connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT type, char_length(type) FROM "{warehouse.schema}".things')
        assert cursor.fetchall() == [("é", 1)]


def test_view_in_the_way(warehouse: Warehouse, tmp_path: Path) -> None:
    """A view of the table's name is refused, taken over or not."""
    warehouse.run(f'CREATE SCHEMA "{warehouse.schema}"')
    warehouse.run("CREATE VIEW things AS SELECT NULL::text AS id, NULL::text AS type, NULL::json AS _extra LIMIT 1")
    export = things(tmp_path / "one", {"1": "a"})
    with pytest.raises(UsageError, match="did not make"):
        warehouse.load(export)
    with pytest.raises(UsageError, match="view"):
        warehouse.load(export, adopt=True)


def test_service_of_libpq(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of PGSERVICEFILE says where to, and PGPASSFILE has the password."""
    services = tmp_path / "services"
    services.write_text(f"[dfe]\nhost=127.0.0.1\nport={warehouse.server.port}\ndbname={DATABASE}\nuser={USER}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    to = f"postgresql://?service=dfe&passfile={quote(str(warehouse.server.passfile))}"
    load(things(tmp_path / "one", {"1": "a"}), to=to, schema=warehouse.schema)
    assert warehouse.held() == {"1": "a"}


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\"'`;-$?%"),
    min_size=1,
    max_size=80,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(NAMES, unique=True, min_size=1, max_size=4), prefix=NAMES)
def test_hostile_names(
    postgres: PostgresServer, names: list[str], prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever columns and prefixes are called, their names are names and never SQL."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    warehouse = Warehouse(postgres, f"h{time.time_ns()}\"';--$1")
    chosen = [name for name in names if name.casefold() not in {"id", "type", "_extra"}]
    for value in ("a", "b"):
        fields = (pa.field(name, pa.string()) for name in chosen)
        table = exported_table([{"id": "1", **dict.fromkeys(chosen, value)}], *fields)
        warehouse.load(write_export(tmp_path / value, {"things": table}), table_prefix=prefix)
    quoted_schema = '"' + warehouse.schema.replace('"', '""') + '"'
    with dbapi.connect(postgres.url_with_password) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT table_name FROM {quoted_schema}.{NAME}")
        ((name,),) = cursor.fetchall()
        quoted = '"' + name.replace('"', '""') + '"'
        cursor.execute(f"SELECT * FROM {quoted_schema}.{quoted}")
        assert cursor.fetchall() == [("1", None, *["b"] * len(chosen), None)]


def test_extra_field_is_the_json_column(warehouse: Warehouse, tmp_path: Path) -> None:
    """A changed `_extra` is a change of the row, though json has no equality."""
    for name, extra in (("one", '{"a":1}'), ("two", '{"a":1.0}'), ("three", None)):
        table = exported_table([{"id": "1", EXTRA.name: extra}])
        warehouse.load(write_export(tmp_path / name, {"things": table}))
        assert warehouse.run("SELECT _extra::text FROM things") == [(extra,)]
