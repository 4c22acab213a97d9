"""What people write, or install, to load a Parquet folder into PostgreSQL.

run.py to_sql|copy|dlt URL SCHEMA DIRECTORY
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

mode, url, schema, directory = sys.argv[1:]
files = sorted(Path(directory).glob("*.parquet"))
TABLE, BATCH = "npq_applications", 16_384


def batches() -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from pq.ParquetFile(file).iter_batches(BATCH)


def with_json(values: list[Any]) -> list[Any]:
    return [json.dumps(value, default=str) if isinstance(value, list | dict) else value for value in values]


def to_sql() -> None:
    import pandas
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
        frame = pandas.concat([pandas.read_parquet(file) for file in files])
        for name in frame.columns:
            if frame[name].map(lambda value: isinstance(value, list | dict)).any():
                frame[name] = with_json(frame[name].tolist())
        frame.to_sql(TABLE, connection, schema=schema, index=False, chunksize=10_000)


def copy() -> None:
    import psycopg

    types = {
        pa.bool_(): "boolean",
        pa.int64(): "bigint",
        pa.float64(): "double precision",
        pa.date32(): "date",
        pa.timestamp("us", "UTC"): "timestamptz",
    }
    columns = pq.read_schema(files[0])
    defined = ", ".join(f'"{field.name}" {types.get(field.type, "text")}' for field in columns)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        cursor.execute(f"CREATE TABLE {schema}.{TABLE} ({defined}, PRIMARY KEY (id))")
        with cursor.copy(f"COPY {schema}.{TABLE} FROM STDIN") as copying:
            for batch in batches():
                for row in zip(*(with_json(column.to_pylist()) for column in batch.columns), strict=True):
                    copying.write_row(row)


def with_dlt() -> None:
    import dlt

    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    working = Path(directory).parent.parent / f"{schema}-dlt"
    pipeline = dlt.pipeline(
        "loading",
        destination=dlt.destinations.postgres(url),
        dataset_name=schema,
        pipelines_dir=str(working),
    )
    made = dlt.resource(lambda: (pa.Table.from_batches([batch]) for batch in batches()), name=TABLE)
    pipeline.run(made, write_disposition="replace", primary_key="id")


{"to_sql": to_sql, "copy": copy, "dlt": with_dlt}[mode]()
