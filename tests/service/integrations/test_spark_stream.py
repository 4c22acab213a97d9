"""Streams in a real Spark against the bundled service: with a MERGE they give the copy, whatever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulk_export.errors import BulkExportError, ServiceRefused, UsageError
from bulk_export.services.local import LocalService
from tests.support.exporting import TOKEN
from tests.support.notebook import FREE, QUICK_START, check_copy, parameters
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess

pytest.importorskip("pyspark.sql", reason="PySpark is not installed")

from pyspark.sql.streaming.datasource import ReadAllAvailable

from bulk_export.spark import BulkExportDataSource

if TYPE_CHECKING:
    pass

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

needs_redis = pytest.mark.skipif(REDIS is None, reason=SKIP_REASON)
ENDPOINT = "npq-applications"
# A description without filters.
WITHOUT_FILTERS = """
name = "npq"
title = "Without filters"
default_version = "v3"
[limits]
service = "100000/1s"
ip = "100000/1s"
[versions.v3.npq-applications]
path = "/api/v3/npq-applications"
record_type = "npq_application"
sort = "created_at,id"
order = ["created_at", "id"]
order_is_total = true
fields.full_name = "string"
"""
FEW = {"records_by_endpoint": {ENDPOINT: 600}, "largest_page": 20}


@pytest.fixture
def drivers() -> Iterator[list[subprocess.Popen[str]]]:
    """Takes processes, and kills those that are left."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for driver in started:
        with driver:
            if driver.poll() is None:
                kill(driver)


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java on this machine")
@pytest.mark.skipif(sys.platform != "linux", reason="kills groups of processes")
@pytest.mark.parametrize("service", [FEW], indirect=True)
def test_killed_drivers(
    service: LocalService, drivers: list[subprocess.Popen[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of a batch, and between the merge of a batch and its commit, a stream loses nothing."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", TOKEN)
    monkeypatch.setenv("JDK_JAVA_OPTIONS", QUICK_START)
    given = parameters(service, tmp_path, every="1s")

    def change(_: LocalService, request: Any) -> None:
        # Records change while they are read.
        service.touch(ENDPOINT, len(service.log) * 7 % service.count(ENDPOINT))
        if len(service.log) % 5 == 0:
            service.append(ENDPOINT)
        # 1. The first driver is killed in the middle of its first batch.
        if len(service.log) == 20:
            kill(drivers[0])

    service.before_request = change
    drivers.append(start(given, "follow", "9"))
    assert drivers[0].wait(timeout=300) == -signal.SIGKILL
    assert not (tmp_path / "table").exists()
    # 2. The second one repeats it, and is killed after the merge of a later one, while service and table differ.
    drivers.append(start(given, "follow", "2"))
    assert [line.strip() for line in lines_of(drivers[1], 3)] == ["merged 0", "merged 1", "merged 2"]
    kill(drivers[1])
    drivers[1].wait()
    service.before_request = None
    service.touch(ENDPOINT, 0)
    service.append(ENDPOINT)
    # 3. The third one repeats that batch, polls once more, and ends.
    drivers.append(start(given, "poll"))
    assert drivers[2].wait(timeout=300) == 0
    check_copy(service, given)


def start(given: dict[str, Any], *words: str) -> subprocess.Popen[str]:
    """Start a driver with a session of its own."""
    command = [sys.executable, "-m", "tests.support.spark_stream", json.dumps(given), *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


def kill(driver: subprocess.Popen[str]) -> None:
    """Kill a driver with its virtual machine."""
    os.killpg(driver.pid, signal.SIGKILL)


def lines_of(driver: subprocess.Popen[str], count: int) -> list[str]:
    assert driver.stdout is not None
    return [driver.stdout.readline() for _ in range(count)]


@pytest.fixture
def budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Redis server of the test's own."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", TOKEN)
    server = RedisProcess(tmp_path)
    yield server.url
    server.kill()


def reader_of(service: LocalService, budget: str, service_file: str = "npq", **changes: str) -> Any:
    """The reader of a stream, as Spark's process for it makes it."""
    place = {"service": service_file, "endpoint": ENDPOINT, "baseUrl": service.base_url, "budget": budget}
    options = {**place, **FREE, "every": "1h", **changes}
    source = BulkExportDataSource(options)
    return source.streamReader(source.schema())


def ids_between(reader: Any, start: dict[str, Any], end: dict[str, Any], column: str = "id") -> list[str]:
    partitions = reader.partitions(start, end)
    return [value for one in partitions for batch in reader.read(one) for value in batch.column(column).to_pylist()]


@needs_redis
def test_polls_wait_for_interval(service: LocalService, budget: str) -> None:
    """Between two polls nothing is requested, however often Spark asks."""
    reader = reader_of(service, budget)
    beginning = reader.initialOffset()
    first = reader.latestOffset(beginning, ReadAllAvailable())
    assert len(ids_between(reader, beginning, first)) == service.count(ENDPOINT)
    requests = len(service.log)
    assert reader.latestOffset(first, ReadAllAvailable()) is first
    assert reader.partitions(first, first) == []
    assert len(service.log) == requests
    # A run that is to end makes one poll all the same.
    reader.prepareForTriggerAvailableNow()
    second = reader.latestOffset(first, ReadAllAvailable())
    assert second != first
    assert reader.latestOffset(second, ReadAllAvailable()) is second


@needs_redis
def test_batch_after_restart(service: LocalService, budget: str) -> None:
    """Another process finds the same records between two offsets, and what has changed since."""
    reader = reader_of(service, budget)
    beginning = reader.initialOffset()
    first = json.loads(json.dumps(reader.latestOffset(beginning, ReadAllAvailable())))
    service.append(ENDPOINT, 150)
    again = reader_of(service, budget)
    assert sorted(ids_between(again, beginning, first)) == sorted(one["id"] for one in service.truth(ENDPOINT))
    with pytest.raises(UsageError, match="another stream"):
        reader_of(service, budget, **{"filter.cohort": "2021"}).partitions(beginning, first)


@needs_redis
@pytest.mark.parametrize("service", [FEW], indirect=True)
def test_endpoint_without_changes(service: LocalService, budget: str, tmp_path: Path) -> None:
    """An endpoint that cannot be asked for changes is read in full each time, as by `sync`."""
    (tmp_path / "short.toml").write_text(WITHOUT_FILTERS)
    reader = reader_of(service, budget, service_file=str(tmp_path / "short.toml"), dedupe="true")
    offsets = [reader.initialOffset()]
    for _ in range(2):
        reader.prepareForTriggerAvailableNow()
        offsets.append(reader.latestOffset(offsets[-1], ReadAllAvailable()))
        assert len(reader.partitions(*offsets[-2:])) == 1
        assert len(set(ids_between(reader, *offsets[-2:]))) == 600
    assert all("filter" not in request.query for request in service.log)


@needs_redis
@pytest.mark.parametrize("service", [{**FEW, "other_tokens": ("token-of-b",)}], indirect=True)
def test_tenants(service: LocalService, budget: str, tmp_path: Path) -> None:
    """Each tenant has a place of its own: a new one is read in full, and another's changes go on."""

    def reader_for(*names: str) -> Any:
        tokens = {"a": TOKEN, "b": "token-of-b", "gone": "revoked"}
        text = ""
        for name in names:
            (tmp_path / name).write_text(tokens[name])
            (tmp_path / name).chmod(0o600)
            text += f'[[tenant]]\nname = "{name}"\ntoken-file = "{name}"\n'
        (tmp_path / "tenants.toml").write_text(text)
        (tmp_path / "tenants.toml").chmod(0o600)
        return reader_of(service, budget, tenants=str(tmp_path / "tenants.toml"))

    reader = reader_for("a")
    beginning = reader.initialOffset()
    first = reader.latestOffset(beginning, ReadAllAvailable())
    assert set(ids_between(reader, beginning, first, "tenant")) == {"a"}
    reader = reader_for("a", "b")
    second = reader.latestOffset(first, ReadAllAvailable())
    assert ids_between(reader, first, second, "tenant") == ["b"] * 600
    with pytest.raises(ServiceRefused, match=r"Tenant gone: .*401") as refused:
        reader_for("a", "gone").latestOffset(second, ReadAllAvailable())
    assert refused.value.__notes__ == refused.value.lines()[1:]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"every": ""}, "needs the option every"),
        ({"filter.updated_since": "2026-01-01T00:00:00Z"}, "since when"),
        ({"budget": "memory://"}, "cannot be shared"),
    ],
)
def test_refused(changes: dict[str, str], sentence: str, service: LocalService) -> None:
    """A stream without an interval, or that is told since when to request changes, is refused."""
    options = {"endpoint": ENDPOINT, "baseUrl": service.base_url, "every": "1h", **changes}
    source = BulkExportDataSource({name: value for name, value in options.items() if value})
    with pytest.raises(BulkExportError, match=sentence):
        source.streamReader(source.schema())


def test_table_has_no_interval(service: LocalService) -> None:
    """The option `every` makes a stream, and is refused for a table."""
    source = BulkExportDataSource({"endpoint": ENDPOINT, "baseUrl": service.base_url, "every": "1h"})
    assert source.schema().names[-2:] == ["_extra", "_synced_at"]
    with pytest.raises(UsageError, match="for streams"):
        source.reader(source.schema())
