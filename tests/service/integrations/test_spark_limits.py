"""The limits of the service under several executors with an address each, one of which is killed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest

from bulk_export.core.model import Limit
from bulk_export.errors import UsageError
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import TOKEN, settings
from tests.support.notebook import QUICK_START
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess
from tests.support.sliding_log import most_in_any_window

pytest.importorskip("pyspark.sql", reason="PySpark is not installed")

from bulk_export.spark import BulkExportDataSource, run_totals

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(REDIS is None, reason=SKIP_REASON),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2 without setting it up"),
]

ENDPOINT = "npq-applications"
TOGETHER, EACH = Limit(40, 3), Limit(15, 3)
LIMITS = {"serviceLimit": "40/3s", "ipLimit": "15/3s", "minInterval": "0", "pageSize": "20", "workers": "4"}


@pytest.fixture
def budget(tmp_path: Path) -> Iterator[str]:
    """A Redis server of the test's own."""
    server = RedisProcess(tmp_path)
    yield server.url
    server.kill()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalService]:
    """A service of 1,600 records whose rolling limits are those of the options."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", TOKEN)
    limited = settings(
        service_limit=TOGETHER,
        ip_limit=EACH,
        windows="rolling",
        retry_after=True,
        records_by_endpoint={ENDPOINT: 1_600},
        latency=0.02,
    )
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(limited)) as served,
    ):
        yield served


def check_limits(service: LocalService) -> None:
    """The server never saw more than the limits, and refused nothing."""
    by_address: dict[str, list[float]] = defaultdict(list)
    for request in service.log:
        by_address[request.peer].append(request.at)
    assert 429 not in service.statuses
    assert most_in_any_window([request.at for request in service.log], TOGETHER.period) <= TOGETHER.requests
    for moments in by_address.values():
        assert most_in_any_window(moments, EACH.period) <= EACH.requests
    assert len(by_address) > 2


def wait_for_requests(service: LocalService, address: str, count: int) -> None:
    """Wait until requests came from an address."""
    deadline = time.monotonic() + 120
    while sum(request.peer == address for request in service.log) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes(service: LocalService, budget: str, tmp_path: Path) -> None:
    """Processes that read a range each share the limits; one is killed, and its range is read again by another."""
    options: dict[str, Any] = {"endpoint": ENDPOINT, "baseUrl": service.base_url, "budget": budget, **LIMITS}
    source = BulkExportDataSource({**options, "pagesPerPartition": "27"})
    reader = source.reader(source.schema())
    running = []
    for number, partition in enumerate(reader.partitions()):
        file = tmp_path / f"partition-{number}"
        file.write_bytes(pickle.dumps((reader, partition)))
        assert TOKEN.encode() not in file.read_bytes()
        running.append(start(file, f"127.0.0.{10 + number}"))
    wait_for_requests(service, "127.0.0.11", 5)
    running[1].kill()
    running[1].communicate()
    running[1] = start(tmp_path / "partition-1", "127.0.0.20")
    assert sum(int(process.communicate(timeout=120)[0]) for process in running) == 1_600
    check_limits(service)


def test_totals(service: LocalService, budget: str) -> None:
    """Tasks add what they requested to the totals of their run; those of another run are others."""
    options = {"endpoint": ENDPOINT, "baseUrl": service.base_url, "budget": budget, **LIMITS, "pageSize": "200"}
    source = BulkExportDataSource({**options, "pagesPerPartition": "3", "run": "nightly"})
    reader = source.reader(source.schema())
    partitions = reader.partitions()
    assert sum(batch.num_rows for one in partitions for batch in reader.read(one)) == 1_600
    totals = run_totals("nightly", budget)
    assert (totals.requests, totals.throttled, totals.tasks) == (len(service.log), 0, len(partitions))
    assert run_totals("another", budget).requests == 0
    with pytest.raises(UsageError, match="Redis"):
        run_totals("nightly", "sqlite://")


def test_budget_of_one_machine(service: LocalService, tmp_path: Path) -> None:
    """A process that is not the driver's refuses a budget in a file before it sends anything."""
    options = {"endpoint": ENDPOINT, "baseUrl": service.base_url, "budget": f"sqlite:///{tmp_path}/budget"}
    source = BulkExportDataSource({**options, "dedupe": "true"})
    reader = source.reader(source.schema())
    with pytest.raises(UsageError, match="Executors other than the driver"):
        next(iter(reader.read(reader.partitions()[0])))
    assert not list(service.log)


def start(file: Path, address: str) -> subprocess.Popen[str]:
    """Start a process that reads the partition in a file."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.spark_executor", str(file), address], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java on this machine")
def test_cluster(service: LocalService, budget: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors of a cluster share the limits; one is killed, and no record is lost or given twice."""
    pairs = [f"{name}={value}" for name, value in {**LIMITS, "pagesPerPartition": "27", "run": "cluster"}.items()]
    monkeypatch.setenv("JDK_JAVA_OPTIONS", QUICK_START)
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.support.spark_cluster", service.base_url, budget, str(tmp_path), *pairs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_requests(service, "127.0.0.11", 5)
        os.kill(executor_of(driver.pid, "1"), signal.SIGKILL)
        output, errors = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 0, errors
    assert json.loads(output.splitlines()[-1]) == {"records": 1_600, "ids": 1_600}
    check_limits(service)
    # What the killed executor requested last may be in no total.
    totals = run_totals("cluster", budget)
    assert 0.5 * len(service.log) < totals.requests <= len(service.log)
    assert totals.tasks >= 4


def executor_of(driver: int, number: str) -> int:
    """Return the process of an executor among the descendants of a driver."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                words = (directory / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            is_executor = b"org.apache.spark.executor.CoarseGrainedExecutorBackend" in words
            is_it = is_executor and number.encode() == words[words.index(b"--executor-id") + 1]
            if is_it and descends(int(directory.name), driver):
                return int(directory.name)
    raise AssertionError("no such executor")


def descends(process: int, ancestor: int) -> bool:
    """Whether a process was started by another one, or by one that it started."""
    while process > 1 and process != ancestor:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return process == ancestor
