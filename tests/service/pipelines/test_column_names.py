"""Names of every kind over every table and reader: each value is found again, under its name or in `_extra`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from deltalake import DeltaTable, write_deltalake

from bulk_export.core.model import Service
from bulk_export.errors import DamagedState
from bulk_export.output.duckdb_sql import connect
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.services.catalogue import read_description
from bulk_export.transform.column_names import comparison_key
from bulk_export.transform.decode import Decoder
from tests.support.exporting import FREE, QUICK, TOKEN
from tests.support.restore import canonical, restore
from tests.support.web_server import web_server

ODD = ["back`tick", "sl/ash", "/change", "//", 'quo"te', "apos'trophe", "d.ot", "..", "a space", "trailing ", ""]
ODD += ["\U0001f469\u200d\U0001f3eb", "x" * 300, "e\u0301", "percent%20", "[a]", "a,b;c{d}(e)=f", "new\nline", "tab\t"]
ODD += ["back\\slash", "$1", "select", "1", "*", "\u202e", "nul\0"]
TWINS = ["ID", "Type", "_Extra", "_Synced_At", "_REMOVED_AT", "Data", "name", "Name", "NAME", "é", "É", "ﬁ", "fi"]
TWINS += ["straße", "STRASSE"]
# What queries may call their tables and columns.
ALIASES = [*"abcefgknorstx", "change", "record", "shared", "rank", "source", "target", "k0"]
NAMES = [*TWINS, *ODD, *ALIASES]
BEGAN = datetime(2025, 6, 2, 12, tzinfo=UTC)
Rows = list[dict[str, Any]]


def record(number: int, names: list[str]) -> dict[str, Any]:
    """A record whose values tell where they belong, the same names at every level."""
    values = {name: f"{number} of {place}" for place, name in enumerate(names)}
    inside = {name: f"inside {value}" for name, value in values.items()}
    objects = {name: {"id": f"no id {value}", "_synced_at": value} for name, value in values.items() if name in ALIASES}
    attributes = {
        **values,
        **objects,
        "updated_at": f"2025-06-02T00:{number:02}:00Z",
        "one": inside,
        "many": [inside, {}],
    }
    return {"id": f"id-{number}", "type": "thing", "attributes": attributes}


def described(names: list[str]) -> Service:
    """A description of all the names in this order, at every level."""
    members = dict.fromkeys(names, "string")
    objects = {name: {"id": "string", "_synced_at": "string"} for name in names if name in ALIASES}
    fields = {**members, **objects, "updated_at": "timestamp", "one": members, "many": [members]}
    things = {"path": "/things", "fields": fields, "order": [], "filters": ["updated_since"], "since": "updated_since"}
    return read_description({"name": "odd", "versions": {"v1": {"things": things}}, "pages": {"largest": 100}}, None)


@dataclass
class Served:
    """What the service shows."""

    base_url: str = ""
    records: Rows = field(default_factory=list)


@asynccontextmanager
async def served(*records: dict[str, Any]) -> AsyncIterator[Served]:
    service = Served(records=list(records))

    async def answer(request: web.Request) -> web.Response:
        shown = service.records if request.query.get("page[page]") == "1" else []
        return web.json_response({"data": shown})

    async with web_server(answer) as service.base_url:
        yield service


def options(server: Served, output: Path, **changes: Any) -> dict[str, Any]:
    return {"base_url": server.base_url, "token": TOKEN, "output": output, "retries": 0, **FREE} | changes


async def poll(server: Served, output: Path, hour: int, **changes: Any) -> None:
    chosen = SyncOptions.of((), **options(server, output, **changes))
    await sync_once(chosen, clock=lambda: BEGAN + timedelta(hours=hour))


def by_pyarrow(table: Path) -> Rows:
    return pq.read_table(next(table.glob("*.parquet"))).to_pylist()


def by_pyarrow_delta(table: Path) -> Rows:
    return DeltaTable(table).to_pyarrow_table().to_pylist()


def by_duckdb(table: Path) -> Rows:
    files = (
        DeltaTable(table).file_uris() if (table / "_delta_log").exists() else list(map(str, table.glob("*.parquet")))
    )
    connection = connect("delta")
    return connection.read_parquet(files).to_arrow_table().to_pylist()


def by_polars(table: Path) -> Rows:
    frame = (
        polars.read_delta(str(table)) if (table / "_delta_log").exists() else polars.read_parquet(table / "*.parquet")
    )
    return frame.to_arrow().to_pylist()


def by_spark(table: Path) -> Rows:
    spark = pytest.importorskip("pyspark.sql").SparkSession.builder.master("local[1]").getOrCreate()
    return [row.asDict(recursive=True) for row in spark.read.parquet(*map(str, table.glob("*.parquet"))).collect()]


def assert_holds(rows: Rows, records: Rows) -> None:
    """Every record is there with every value, and no row has two names that a reader takes for one."""
    own = ("_synced_at", "_removed_at")
    given = {row["id"]: {name: value for name, value in row.items() if name not in own} for row in rows}
    assert {name: canonical(restore(row)) for name, row in given.items()} == {
        one["id"]: canonical(one) for one in records
    }
    for row in rows:
        for names in (row, row["one"] or {}, *(row["many"] or ())):
            assert len(set(map(comparison_key, names or ()))) == len(names or ())


@pytest.mark.parametrize(("form", "readers"), [
    ("delta", (by_pyarrow_delta, by_duckdb, by_polars)),
    ("parquet", (by_pyarrow, by_duckdb, by_polars)),
])  # fmt: skip
@pytest.mark.parametrize("service", [described([]), described(NAMES)], ids=["inferred", "described"])
async def test_copy_has_every_value(
    tmp_path: Path, form: str, readers: tuple[Callable[[Path], Rows], ...], service: Service
) -> None:
    """A copy has every value under every name, and polls go on."""
    async with served(record(1, ["Name"]), record(2, [])) as server:
        for hour, records in enumerate(
            [server.records, [record(2, NAMES[::-1]), record(3, NAMES)], [record(2, NAMES), record(4, NAMES)]]
        ):
            server.records = records
            await poll(server, tmp_path / "copy", hour, service=service, format=form)
    wanted = [record(1, ["Name"]), record(2, NAMES), record(3, NAMES), record(4, NAMES)]
    for reader in readers:
        assert_holds(reader(tmp_path / "copy/things"), wanted)


async def test_export_has_every_value(tmp_path: Path) -> None:
    """An export has every value, and no two columns that a reader takes for one."""
    records = [record(number, NAMES) for number in range(9)]
    async with served(*records) as server:
        chosen = options(server, tmp_path, service=described(NAMES), format=["parquet", "ndjson"], flatten=True)
        await export(ExportOptions.of((), **chosen), tuning=QUICK)
    for reader in (by_pyarrow, by_duckdb, by_polars):
        assert_holds(reader(tmp_path / "things"), records)
    lines = (tmp_path / "things/part-00000.ndjson").read_text().split("\n")
    assert_holds([json.loads(line) for line in lines if line], records)


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="Spark is not installed")
async def test_spark_reads_every_value_of_an_export(tmp_path: Path) -> None:
    records = [record(number, NAMES) for number in range(9)]
    async with served(*records) as server:
        chosen = options(server, tmp_path, service=described([]), schema="infer")
        await export(ExportOptions.of((), **chosen), tuning=QUICK)
    assert_holds(by_spark(tmp_path / "things"), records)


def test_decoders_agree_on_columns() -> None:
    """All ways to decode a page agree on which name has the column."""
    (things,) = described(TWINS)
    usual, decoder = [*TWINS[1::2], "name"], Decoder(things, columns=True, lines="flat")
    for number in range(6):
        # The exact way comes first; what was met often is then taken the fast way.
        records = [record(number, TWINS), record(50 + number, usual)]
        block = decoder.decode([json.dumps({"data": records}).encode()])
        assert block.batch is not None
        assert block.lines is not None
        assert_holds(block.batch.to_pylist(), records)
        assert_holds(list(map(json.loads, block.lines)), records)


async def test_described_name_without_column_is_no_drift(tmp_path: Path) -> None:
    """A described attribute is no drift under --schema strict even if its name cannot be a column."""
    async with served(record(1, NAMES), record(2, NAMES[::-1])) as server:
        chosen = options(server, tmp_path, service=described(NAMES), schema="strict")
        await export(ExportOptions.of((), **chosen), tuning=QUICK)
    assert_holds(by_pyarrow(tmp_path / "things"), [record(1, NAMES), record(2, NAMES[::-1])])


async def test_copied_column_keeps_its_name(tmp_path: Path) -> None:
    """A column of a copy keeps its name, whatever the description calls it later."""
    async with served(record(1, ["email"])) as server:
        await poll(server, tmp_path / "copy", 0, service=described(["email"]))
        server.records = [record(1, ["Email"]), record(2, ["EMAIL", "email"])]
        await poll(server, tmp_path / "copy", 1, service=described(["Email", "email"]))
    rows = by_pyarrow_delta(tmp_path / "copy/things")
    assert_holds(rows, [record(1, ["Email"]), record(2, ["EMAIL", "email"])])
    assert [name for name in rows[0] if name.casefold() == "email"] == ["email"]


async def test_copy_with_clashing_columns_is_refused(tmp_path: Path) -> None:
    """A copy with columns that readers take for one is refused, and the message says how to go on."""
    service = described([])
    async with served(record(1, [])) as server:
        await poll(server, tmp_path / "copy", 0, service=service, format="parquet")
        (file,) = (tmp_path / "copy/things").glob("*.parquet")
        table = pq.read_table(file)
        pq.write_table(table.append_column("ID", table["id"]), file)
        before = file.read_bytes()
        with pytest.raises(DamagedState, match="'id', 'ID'") as refused:
            await poll(server, tmp_path / "copy", 1, service=service, format="parquet")
    assert "another --output" in refused.value.next_step
    assert file.read_bytes() == before


async def test_delta_table_with_unmergeable_name(tmp_path: Path) -> None:
    """A Delta table goes on if it has a column name that it cannot be merged by."""
    service = described([])
    async with served(record(1, []), record(2, [])) as server:
        await poll(server, tmp_path / "copy", 0, service=service)
        path = tmp_path / "copy/things"
        table = DeltaTable(path).to_pyarrow_table()
        written = table.append_column("a`b", pa.array(["kept", "old"], pa.string()))
        write_deltalake(path, written, mode="overwrite", schema_mode="overwrite")
        server.records = [record(1, ["a`b"]), record(3, [])]
        await poll(server, tmp_path / "copy", 1, service=service)
    shown = {row["id"]: restore(row)["attributes"].get("a`b") for row in by_pyarrow_delta(path)}
    assert shown == {"id-1": "1 of 0", "id-2": "old", "id-3": None}


@pytest.mark.parametrize("form", ["delta", "parquet"])
@pytest.mark.parametrize("name", ["n", "other"])
async def test_rows_with_one_id_are_all_copied(tmp_path: Path, form: str, name: str) -> None:
    """Rows that share an id are all in a copy, whatever an attribute is called."""

    def twin(number: int, value: int | None) -> dict[str, Any]:
        made = record(number, ["v"])
        return made | {"id": "same", "attributes": {**made["attributes"], name: value}}

    wanted = [("id-3", None, None), ("same", 5, None), ("same", 5, None), ("same", None, None)]
    read = by_pyarrow_delta if form == "delta" else by_pyarrow
    async with served(twin(1, 5), twin(1, 5), twin(2, None), record(3, ["v"])) as server:
        for week in range(3):
            await poll(server, tmp_path / "copy", 24 * 8 * week, service=described([]), format=form)
            rows = [(row["id"], row.get(name), row["_removed_at"]) for row in read(tmp_path / "copy/things")]
            assert sorted(rows, key=repr) == sorted(wanted, key=repr)
