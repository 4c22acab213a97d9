"""The data source in Sail, an engine that speaks Spark's protocol without Java, in an environment of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulk_export.errors import UsageError
from bulk_export.services.local import LocalService
from tests.support.exporting import TOKEN
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess
from tests.support.restore import canonical, restore

pytest.importorskip("pysail", reason="Sail is not installed; make test-sail has it")

from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

from bulk_export.spark import BulkExportDataSource

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(REDIS is None, reason=SKIP_REASON),
]

ENDPOINT = "npq-applications"


@pytest.fixture(scope="module")
def sail() -> Iterator[SparkSession]:
    """A session with a server in this process."""
    server = SparkConnectServer()
    server.start(background=True)
    session = SparkSession.builder.remote(f"sc://localhost:{server.listening_address[1]}").getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.dataSource.register(BulkExportDataSource)
    yield session
    session.stop()
    server.stop()


@pytest.fixture
def budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Redis server of the test's own."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", TOKEN)
    server = RedisProcess(tmp_path)
    yield server.url
    server.kill()


def frame(sail: SparkSession, service: LocalService, budget: str, **options: Any) -> DataFrame:
    """The endpoint as a DataFrame, without waits for limits."""
    reader = sail.read.format("bulk_export").option("endpoint", ENDPOINT).option("baseUrl", service.base_url)
    free = {"budget": budget, "serviceLimit": "100000/1s", "ipLimit": "100000/1s", "minInterval": "0"}
    for name, value in {**free, "pageSize": "50", "pagesPerPartition": "10", **options}.items():
        reader = reader.option(name, value)
    return reader.load()


def test_records_and_columns(sail: SparkSession, service: LocalService, budget: str) -> None:
    """A query gives every record once, in the columns of Parquet with `_extra` last."""
    df = frame(sail, service, budget)
    assert (df.columns[0], df.columns[-1]) == ("id", "_extra")
    rows = sorted(df.toArrow().to_pylist(), key=lambda row: row["id"])
    expected = sorted(service.truth(ENDPOINT), key=lambda record: record["id"])
    assert [canonical(restore(row)) for row in rows] == [canonical(record) for record in expected]
    assert frame(sail, service, budget, dedupe="true").count() == len(expected)


def test_budget_in_file(sail: SparkSession, service: LocalService, budget: str, tmp_path: Path) -> None:
    """Sail has no virtual machine that would tell its workers apart, so it needs a server for the budget."""
    with pytest.raises(Exception, match="budget that all of them share"):
        frame(sail, service, f"sqlite:///{tmp_path}/budget").count()


def test_stream_needs_later_spark(service: LocalService, budget: str) -> None:
    """Before Spark 4.2 a source is not told where a batch starts, so streams are refused."""
    options = {"endpoint": ENDPOINT, "baseUrl": service.base_url, "budget": budget, "every": "1h"}
    source = BulkExportDataSource(options)
    with pytest.raises(UsageError, match=r"Streams need Spark 4\.2"):
        source.streamReader(source.schema())
