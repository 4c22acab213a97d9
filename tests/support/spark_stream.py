"""A driver of its own that keeps a Delta table current with the cells of the example notebook, until it is killed.

Its arguments are the parameters of the notebook as JSON, and what to do: `poll` once and end, or `follow`. With
`follow` it polls every second, prints a line after each merge, and stops inside the batch of the number that comes as
a third argument: the rows are in the table, and Spark does not know it. The token is in the environment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from pyspark.sql import SparkSession

from tests.support.notebook import run_cells


def main() -> None:
    """Run the cells."""
    parameters = json.loads(sys.argv[1])
    os.environ.update(PYSPARK_PYTHON=sys.executable, PYSPARK_DRIVER_PYTHON=sys.executable)
    if sys.argv[2] == "poll":
        _session()
        run_cells(parameters)
        sys.stdout.flush()
        # All cells have run. Threads of the libraries for tables may abort an interpreter that is being torn down.
        os._exit(0)
    last = int(sys.argv[3])
    _session()
    variables = run_cells(parameters, "session", "merge")
    reader = variables["spark"].readStream.format("bulk_export").option("endpoint", variables["endpoint"])

    def merge(batch: Any, number: int) -> None:
        variables["merge"](batch, number)
        sys.stdout.write(f"merged {number}\n")
        sys.stdout.flush()
        if number >= last:
            signal.pause()

    writer = reader.options(**variables["options"]).load().writeStream.foreachBatch(merge)
    writer.option("checkpointLocation", variables["checkpoint"]).start().awaitTermination()


def _session() -> SparkSession:
    """Begin the session that the notebook takes up."""
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    return builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()


if __name__ == "__main__":
    main()
