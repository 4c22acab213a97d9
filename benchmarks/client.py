"""One measured run in a process of its own.

    python -m benchmarks.client KIND BASE_URL RECORDS PAGE_SIZE DIRECTORY

KIND is `ceiling` (bodies fetched over as many connections and dropped), `parquet`, `ndjson`, `ndjson-zstd` or
`stream`. Prints the seconds taken, imports aside, and the number of records, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import anyio

from bulk_export.cli.allocator import give_memory_back

give_memory_back()  # as the command line does, before Arrow is there

import bulk_export
from benchmarks.server import ENDPOINT
from bulk_export.credentials import Token
from bulk_export.fetch import Answer, Fetcher, page_target
from bulk_export.options import ExportOptions
from bulk_export.pipeline import body_cap, export

WORKERS = 8
FREE: dict[str, Any] = {
    "token": "benchmark",
    "budget": "memory://",
    "service_limit": "100000000/1s",
    "ip_limit": "100000000/1s",
    "min_interval": 0,
    "workers": WORKERS,
}


async def ceiling(base_url: str, records: int, page_size: int) -> int:
    """Fetch the same pages with the same client, and drop the bodies."""
    options = ExportOptions.of([ENDPOINT], base_url=base_url, page_size=page_size, **FREE)
    pages = iter(range(1, -(-records // page_size) + 1))

    async def worker(fetcher: Fetcher, left: Iterator[int]) -> None:
        for page in left:
            answer = await fetcher.get(page_target(options.endpoints[0], page, page_size))
            if not isinstance(answer, Answer) or answer.status != 200:
                raise RuntimeError("the ceiling could not be measured")

    async with (
        Fetcher(base_url, Token("benchmark"), body_cap=body_cap(page_size)) as fetcher,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(WORKERS):
            tasks.start_soon(worker, fetcher, pages)
    return records


async def run(kind: str, base_url: str, records: int, page_size: int, directory: str) -> int:
    """The number of records that came through."""
    if kind == "ceiling":
        return await ceiling(base_url, records, page_size)
    given: dict[str, Any] = FREE | {"base_url": base_url, "page_size": page_size}
    if kind == "stream":
        return sum([batch.num_rows async for batch in bulk_export.stream(ENDPOINT, **given)])
    form, _, compression = kind.partition("-")
    chosen = ExportOptions.of([ENDPOINT], format=form, compression=compression or None, output=directory, **given)
    summary = await export(chosen)
    return summary.endpoints[0].records


if __name__ == "__main__":
    kind, base_url, records, page_size, directory = sys.argv[1:]
    began = time.perf_counter()
    count = anyio.run(run, kind, base_url, int(records), int(page_size), directory)
    print(json.dumps({"seconds": time.perf_counter() - began, "records": count}))
