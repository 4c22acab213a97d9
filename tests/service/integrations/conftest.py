"""What tests of data sources for other engines share: one session of Spark for all of them, and a service."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio.from_thread
import pytest

from bulk_export.services.local import LocalService, serving
from tests.support.exporting import TOKEN, settings
from tests.support.notebook import QUICK_START

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session with two tasks at once; its processes find the token in their environment."""
    from pyspark.sql import SparkSession

    from bulk_export.spark import BulkExportDataSource

    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    variables = {"BULK_EXPORT_TOKEN": TOKEN, "JDK_JAVA_OPTIONS": QUICK_START, **python}
    os.environ.update(variables)
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.python.filterPushdown.enabled", "true")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.dataSource.register(BulkExportDataSource)
    yield session
    session.stop()
    for name in variables:
        os.environ.pop(name, None)


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[LocalService]:
    """A bundled service in a thread of its own; a parameter changes its settings."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(settings(**getattr(request, "param", {})))) as served,
    ):
        yield served
