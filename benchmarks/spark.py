"""What reading through Spark costs: records per second in `local[2]` beside `stream`, and the price of a partition.

    python -m benchmarks.spark [--records 300000] [--rounds 3]

Needs the extra `spark` and Java. Both read the same rendered pages, in turn, without limits; the session is started
ahead. Spark writes to its sink `noop`, which takes every row and drops it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio
from pyspark.sql import SparkSession

import bulk_export
from benchmarks.ours import WITHOUT_LIMITS
from benchmarks.pages import ENDPOINT
from benchmarks.processes import TOKEN, rendered

PAGE_SIZE = 300
# The pages of a partition: few partitions, and many.
LARGE, SMALL = 100, 10


def session() -> SparkSession:
    """A session with two tasks at once, with the data source."""
    os.environ.update(BULK_EXPORT_TOKEN=TOKEN, PYSPARK_PYTHON=sys.executable)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    spark = (
        builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    spark.dataSource.register(bulk_export.spark.BulkExportDataSource)
    return spark


def through_spark(spark: SparkSession, base_url: str, pages: int) -> float:
    """Seconds for everything in partitions of some pages."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        reader = spark.read.format("bulk_export").option("endpoint", ENDPOINT).option("baseUrl", base_url)
        reader = reader.option("budget", f"sqlite:///{directory}/budget").option("pagesPerPartition", pages)
        reader = reader.option("serviceLimit", "100000000/1s").option("ipLimit", "100000000/1s")
        reader.option("minInterval", "0").load().write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def through_stream(base_url: str) -> float:
    """Seconds for everything as a stream in this process."""

    async def read() -> int:
        batches = bulk_export.stream(ENDPOINT, **WITHOUT_LIMITS, base_url=base_url, page_size=PAGE_SIZE)
        return sum([batch.num_rows async for batch in batches])

    began = time.perf_counter()
    anyio.run(read)
    return time.perf_counter() - began


def largest_worker() -> float:
    """The most memory that one Python worker of Spark ever took, in MB."""
    most = 0
    for directory in Path("/proc").iterdir():
        try:
            if directory.name.isdecimal() and b"pyspark.daemon" in (directory / "cmdline").read_bytes():
                lines = (directory / "status").read_text().splitlines()
                most = max([most, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        except OSError:
            continue
    return most / 1024


def main() -> None:
    """Print the median of each, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    spark = session()
    large: list[float] = []
    small: list[float] = []
    stream: list[float] = []
    with rendered(given.records, PAGE_SIZE, "gzip") as base_url:
        through_spark(spark, base_url, LARGE)
        for _ in range(given.rounds):
            large.append(through_spark(spark, base_url, LARGE))
            stream.append(through_stream(base_url))
            small.append(through_spark(spark, base_url, SMALL))
    pages = -(-given.records // PAGE_SIZE)
    more = pages / SMALL - pages / LARGE
    ratio = statistics.median(spark_took / stream_took for spark_took, stream_took in zip(large, stream, strict=True))
    a_partition = statistics.median(few - many for few, many in zip(small, large, strict=True)) / more
    print(f"stream: {given.records / statistics.median(stream):,.0f} records/s")
    print(f"Spark local[2], {LARGE} pages a partition: {given.records / statistics.median(large):,.0f} records/s")
    print(f"time through Spark / time of stream: {ratio:.2f}")
    print(f"a further partition: {1000 * a_partition:.0f} ms; largest Python worker: {largest_worker():.0f} MB")
    spark.stop()


if __name__ == "__main__":
    main()
