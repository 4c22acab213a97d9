"""What is measured is real: pages are right, exporters bring every record, and a run that does not is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks import pages, startup
from benchmarks.exporters import EXPORTERS, UNJOURNALLED, Exporter, named
from benchmarks.load import LOADERS, Loader
from benchmarks.load import compare as compare_loads
from benchmarks.object_store import compare as compare_stores
from benchmarks.processes import RunFailed, measure, rendered
from benchmarks.throughput import compare, once
from tests.support.postgres_server import binaries
from tests.support.s3_server import HAS_MOTO, SKIP_REASON

# Takes as long as a tenth of the suite.
pytestmark = pytest.mark.integration

RECORDS, PAGE_SIZE = 750, 300


@pytest.fixture(scope="module", params=["plain", "gzip"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    if request.param == "plain":
        yield request.getfixturevalue("plain"), "plain"
        return
    with rendered(RECORDS, PAGE_SIZE, request.param) as base_url:
        yield base_url, request.param


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    with rendered(RECORDS, PAGE_SIZE, "plain") as base_url:
        yield base_url


def get(base_url: str, query: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=20)
    try:
        connection.request("GET", f"/api/v3/npq-applications?{query}")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.headers["Content-Encoding"] == "gzip":
        body = zlib.decompress(body, wbits=31)
    return response, body


def test_pages_hold_all_records_once(service: tuple[str, str]) -> None:
    """Pages hold all records once, in order, and the page after the last one holds none."""
    base_url, encoding = service
    shown = [get(base_url, f"page%5Bpage%5D={page}&page%5Bper_page%5D=300") for page in (1, 2, 3, 4, 99)]
    records = [json.loads(body)["data"] for _, body in shown]
    assert [len(page) for page in records] == [300, 300, 150, 0, 0]
    made_by = pages.factory(RECORDS)
    assert [record["id"] for page in records for record in page] == list(map(made_by.id, range(RECORDS)))
    assert {response.headers["Content-Encoding"] for response, _ in shown} == {"gzip" if encoding == "gzip" else None}


def test_brackets_may_be_sent_as_they_are(plain: str) -> None:
    _, body = get(plain, "page[page]=3&page[per_page]=300")
    assert len(json.loads(body)["data"]) == 150


def test_many_requests_go_over_one_connection_at_once(plain: str) -> None:
    async def pipelined() -> bytes:
        host, port = urlsplit(plain).hostname, urlsplit(plain).port
        reader, writer = await asyncio.open_connection(host, port)
        for page in (4, 5, 6):
            writer.write(b"GET /?page%%5Bpage%%5D=%d HTTP/1.1\r\nHost: x\r\n\r\n" % page)
        answers = b"".join([await reader.readuntil(b'{"data":[]}') for _ in range(3)])
        writer.close()
        return answers

    assert asyncio.run(pipelined()).count(b"HTTP/1.1 200 OK") == 3


def test_page_rendering_is_the_same_in_parallel(tmp_path: Path) -> None:
    """A page is rendered the same whether alone or among many.

    Many pages are rendered by several processes.
    """
    few, many = (pages.Pages.load(pages.prepare(records, 10, "plain", tmp_path)) for records in (80, 170))
    starts = [held.path.read_bytes()[: held.span(8)[0] + held.span(8)[1]] for held in (few, many)]
    bodies = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in map(first_answer, starts)]
    assert bodies[0]["data"][0]["id"] == bodies[1]["data"][0]["id"]
    assert [held.span(len(held.offsets) + 5) == held.span(len(held.offsets) - 1) for held in (few, many)] == [True] * 2
    lengths = [held.span(page)[1] for held in (few, many) for page in range(1, len(held.offsets))]
    assert sum(lengths) == sum(held.path.stat().st_size for held in (few, many))


def first_answer(sent: bytes) -> bytes:
    second = sent.find(b"HTTP/1.1", 1)
    return sent[:second]


def test_pages_are_kept_for_the_next_run(tmp_path: Path) -> None:
    path = pages.prepare(20, 10, "gzip", tmp_path)
    path.write_bytes(b"kept")
    assert pages.prepare(20, 10, "gzip", tmp_path) == path
    assert path.read_bytes() == b"kept"


_IN_TORTURE = ("ndjson-zstd", "ndjson-flat", "parquet-budget-file", "unjournalled-parquet", "unjournalled-ndjson")
MEASURED = [
    pytest.param(one, id=one.name, marks=[pytest.mark.torture] if one.name in _IN_TORTURE else [])
    for one in (*EXPORTERS, *UNJOURNALLED)
    if one.group != "peers"
]


@pytest.mark.slow
@pytest.mark.parametrize("exporter", MEASURED)
def test_measured_runs_bring_every_record(exporter: Exporter, plain: str) -> None:
    """A run that is measured brings every record."""
    run = once(exporter, plain, RECORDS, PAGE_SIZE)
    assert run.records == RECORDS
    assert run.usage.cpu_seconds > 0
    assert run.usage.peak_mb > 10


def test_incomplete_run_is_refused(plain: str) -> None:
    """A run that brings fewer records is refused."""
    with pytest.raises(RunFailed, match="brought 750 records with 750 ids instead of 900"):
        once(named("ndjson"), plain, 900, PAGE_SIZE)


def test_failed_process_is_refused(tmp_path: Path) -> None:
    """A process that fails is refused, with its last words."""
    with pytest.raises(RunFailed, match=r"(?s)ended with 3.*broken"):
        measure(
            [sys.executable, "-c", "import sys; print('broken', file=sys.stderr); sys.exit(3)"], output=tmp_path / "o"
        )


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="ended with -9"):
        measure([sys.executable, "-c", "import signal; signal.pause()"], output=tmp_path / "o", limit=0.5)


def test_exporters_run_in_turn() -> None:
    """Exporters run in turn, and every ratio is to one that ran."""
    bounds = [named("ceiling"), named("reference-ndjson")]
    rows = compare(bounds, records=RECORDS, page_size=PAGE_SIZE, rounds=1, encoding="plain", say=False)
    assert rows[0]["of_ceiling"] == rows[0]["of_reference"] == 1
    assert isinstance(rows[1]["of_ceiling"], float)
    assert all(row["ours_to_it"] is None for row in rows)


@pytest.mark.slow
def test_first_request_needs_no_data(tmp_path: Path) -> None:
    """The first request is seen by a service without records."""
    assert startup.first_request(tmp_path) > 0


def test_no_two_records_of_three_million_share_an_id() -> None:
    numbers = {*range(0, 3_000_000, 997), *range(2_990_000, 3_000_000)}
    assert len(set(map(pages.factory(3_000_000).id, numbers))) == len(numbers)


@pytest.mark.integration
def test_loads_are_counted() -> None:
    """A loader is measured once it has brought every record, and refused if it has not."""
    pytest.importorskip("adbc_driver_postgresql")
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    ours = [one for one in LOADERS if one.name.startswith("ours")]
    rows = compare_loads(ours, records=600, rounds=1)
    assert [row["name"] for row in rows] == ["ours-postgresql", "ours-duckdb"]
    short = Loader("short", "loads nothing", lambda url, schema, export: [sys.executable, "-c", ""], file=True)
    with pytest.raises(RunFailed, match="brought"):
        compare_loads([short], records=600, rounds=1)


@pytest.mark.integration
@pytest.mark.skipif(not HAS_MOTO, reason=SKIP_REASON)
def test_exports_to_disk_and_to_a_store() -> None:
    """Both bring every record, and the ratio is that of their CPU seconds."""
    disk, store = compare_stores(RECORDS, 1)
    assert (disk["name"], store["name"]) == ("disk", "s3")
    assert disk["cpu_of_disk"] == 1.0
    assert isinstance(store["cpu_of_disk"], float)
