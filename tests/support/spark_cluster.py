"""A Spark cluster of two executors on this machine, each a process with an address of its own, that reads an endpoint.

Its arguments are the address of the service, of the Redis server, a scratch directory and options as NAME=VALUE. The
token is in the environment. It prints the number of records and of ids as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

import bulk_export

# Executors work in directories named by their numbers; planning happens elsewhere.
_WRAPPER = """#!/bin/sh
case "${PWD##*/}" in
  [0-9]*) export BULK_EXPORT_SOURCE_ADDRESS="127.0.0.$((10 + ${PWD##*/}))" ;;
esac
exec "%s" "$@"
"""


def main() -> None:
    """Read everything once."""
    base_url, budget, scratch, *pairs = sys.argv[1:]
    wrapper = Path(scratch, "python")
    wrapper.write_text(_WRAPPER % sys.executable)
    wrapper.chmod(0o700)
    os.environ.update(PYSPARK_PYTHON=str(wrapper), PYSPARK_DRIVER_PYTHON=sys.executable)
    spark = (
        SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.executor.memory", "700m")
        .config("spark.sql.warehouse.dir", scratch)
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    spark.dataSource.register(bulk_export.spark.BulkExportDataSource)
    reader = spark.read.format("bulk_export").option("endpoint", "npq-applications").option("baseUrl", base_url)
    for pair in [f"budget={budget}", *pairs]:
        reader = reader.option(*pair.split("=", 1))
    try:
        ids = [row.id for row in reader.load().select("id").collect()]
        print(json.dumps({"records": len(ids), "ids": len(set(ids))}))  # noqa: T201  # read by the test
    finally:
        application = spark.sparkContext.applicationId
        spark.stop()
        # Executors of such a cluster work in the directory where Spark is installed.
        shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)


if __name__ == "__main__":
    main()
