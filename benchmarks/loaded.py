"""What `benchmarks.load` asks of Arrow and of databases, in processes of its own, whose memory is not counted.

python -m benchmarks.loaded clean DIRECTORY TARGET     copies Parquet files with U+FFFD for NUL, on which peers fail
python -m benchmarks.loaded file PATH TABLE            counts the rows of a table of a DuckDB file
python -m benchmarks.loaded server URL SCHEMA TABLE    counts those of a PostgreSQL server, and drops the schema
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def clean(directory: str, target: str) -> None:
    """Copy files without NUL."""
    Path(target).mkdir()
    for file in Path(directory).glob("*.parquet"):
        table = pq.read_table(file)
        for place, field in enumerate(table.schema):
            if field.type == pa.string():
                table = table.set_column(
                    place, field, pc.replace_substring(table.column(place), pattern="\0", replacement="\ufffd")
                )
        pq.write_table(table, Path(target) / file.name)


def in_file(path: str, table: str) -> None:
    """Print the number of rows."""
    import duckdb

    if not Path(path).exists():
        print(0)
        return
    with duckdb.connect(path, read_only=True) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    print(found[0])


def at_server(url: str, schema: str, table: str) -> None:
    """Print the number of rows, and make room."""
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {schema}.{table}")
        print(cursor.fetchone()[0])
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")
        cursor.execute("CHECKPOINT")


if __name__ == "__main__":
    {"clean": clean, "file": in_file, "server": at_server}[sys.argv[1]](*sys.argv[2:])
