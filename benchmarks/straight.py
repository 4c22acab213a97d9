"""What bounds an exporter from above: fetching alone, and the shortest way to a file with no guarantee at all.

    python -m benchmarks.straight ceiling|parquet|ndjson BASE_URL RECORDS PAGE_SIZE DIRECTORY

`ceiling` reads bodies and drops them. `parquet` gives ten bodies at a time to Arrow's JSON reader, in two threads, and
the tables to one writer in whatever order they come; `ndjson` writes the records as they stand in the bodies.
Neither keeps a limit, a journal, an order, or anything that has no column. Prints seconds (imports aside) and records.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp

if importlib.util.find_spec("isal"):
    aiohttp.set_zlib_backend(importlib.import_module("isal.isal_zlib"))

CONNECTIONS = 8
BODIES_AT_ONCE = 10
_ROW_GROUP = 32_768

Take = Callable[[bytes], Awaitable[None]]


async def fetch_all(base_url: str, pages: int, take: Take) -> None:
    """Fetch pages 1 to `pages` over some connections, and hand each body on as it comes."""
    left = iter(range(1, pages + 1))
    headers = {"Authorization": "Bearer benchmark", "Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=headers) as session:

        async def worker() -> None:
            for page in left:
                url = f"{base_url}/api/v3/npq-applications?page%5Bpage%5D={page}&page%5Bper_page%5D=300"
                async with session.get(url) as response:
                    await take(await response.read())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(worker())


async def ceiling(base_url: str, pages: int, directory: Path) -> int:
    """Read and drop; the bytes that came."""
    size = 0

    async def take(body: bytes) -> None:
        nonlocal size
        size += len(body)

    await fetch_all(base_url, pages, take)
    return size


async def parquet(base_url: str, pages: int, directory: Path) -> int:
    """Everything into one Parquet file; the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import json as arrow_json

    schema, envelope = _schemas(pa)
    rows = 0
    threads = ThreadPoolExecutor(2)
    room = asyncio.Semaphore(4)
    waiting: list[bytes] = []

    def convert(bodies: list[bytes]) -> pa.Table:
        joined = b"\n".join(bodies)
        table = arrow_json.read_json(
            pa.BufferReader(joined),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(joined) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=envelope),
        )
        records = table.column("data").combine_chunks().flatten()
        attributes = records.field("attributes")
        columns = [records.field("id"), records.field("type")]
        columns += [attributes.field(name).cast(schema.field(name).type) for name in schema.names[2:]]
        return pa.Table.from_arrays(columns, schema=schema)

    with pq.ParquetWriter(directory / "all.parquet", schema, compression="zstd") as writer:
        group: list[pa.Table] = []

        def write() -> None:
            if group:
                writer.write_table(pa.concat_tables(group))
                group.clear()

        async def finish(bodies: list[bytes]) -> None:
            nonlocal rows
            async with room:
                table = await asyncio.get_running_loop().run_in_executor(threads, convert, bodies)
                rows += table.num_rows
                group.append(table)
                if sum(one.num_rows for one in group) >= _ROW_GROUP:
                    write()

        async def take(body: bytes) -> None:
            waiting.append(body)
            if len(waiting) == BODIES_AT_ONCE:
                bodies = waiting[:]
                waiting.clear()
                await finish(bodies)

        await fetch_all(base_url, pages, take)
        if waiting:
            await finish(waiting)
        write()
    return rows


def _schemas(pa: Any) -> tuple[Any, Any]:
    """The columns, and how Arrow's reader is to take the envelope: dates as text, because it cannot read them."""
    from benchmarks.pages import ENDPOINT
    from bulk_export.services.catalogue import load_service
    from bulk_export.transform.schema import arrow_schema

    (endpoint,) = [one for one in load_service("npq").endpoints if one.name == ENDPOINT]
    schema = arrow_schema(endpoint)
    schema = schema.remove(schema.get_field_index("_extra"))
    read_as = [field.with_type(pa.string()) if field.type == pa.date32() else field for field in schema]
    record = pa.struct([("id", pa.string()), ("type", pa.string()), ("attributes", pa.struct(read_as[2:]))])
    return schema, pa.schema([("data", pa.list_(record))])


async def ndjson(base_url: str, pages: int, directory: Path) -> int:
    """Every record on a line of its own, as it was sent; the number of lines."""
    import msgspec

    decoder = msgspec.json.Decoder(msgspec.defstruct("Page", [("data", list[msgspec.Raw])]))
    lines = 0
    with (directory / "all.ndjson").open("wb") as file:

        async def take(body: bytes) -> None:
            nonlocal lines
            records: list[bytes] = decoder.decode(body).data  # type: ignore[attr-defined]  # made by name
            lines += len(records)
            file.write(b"\n".join(records) + b"\n")

        await fetch_all(base_url, pages, take)
    return lines


_WAYS: dict[str, Callable[[str, int, Path], Coroutine[Any, Any, int]]] = {
    "ceiling": ceiling,
    "parquet": parquet,
    "ndjson": ndjson,
}


def main() -> None:
    """Go one of the ways, on uvloop where it is installed."""
    way, base_url, records, page_size, directory = sys.argv[1:]
    pages = -(-int(records) // int(page_size))
    factory = importlib.import_module("uvloop").new_event_loop if importlib.util.find_spec("uvloop") else None
    output = Path(directory) / "out"
    output.mkdir(parents=True)
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=factory) as runner:
        came = runner.run(_WAYS[way](base_url, pages, output))
    print(json.dumps({"seconds": time.perf_counter() - began, "bytes" if way == "ceiling" else "records": came}))


if __name__ == "__main__":
    main()
