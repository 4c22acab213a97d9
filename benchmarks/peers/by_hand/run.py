"""What people write by hand: aiohttp, a semaphore, gather, and everything in memory until it is written.

run.py parquet|ndjson BASE_URL RECORDS PAGE_SIZE DIRECTORY
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq

mode, base_url, records, page_size, directory = sys.argv[1:]
output = Path(directory) / "out"
output.mkdir(parents=True)


async def fetch(session: aiohttp.ClientSession, room: asyncio.Semaphore, page: int) -> list[dict[str, Any]]:
    async with (
        room,
        session.get(
            f"{base_url}/api/v3/npq-applications", params={"page[page]": page, "page[per_page]": page_size}
        ) as response,
    ):
        response.raise_for_status()
        return (await response.json())["data"]


async def main() -> None:
    room = asyncio.Semaphore(8)
    pages = -(-int(records) // int(page_size))
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer benchmark"}) as session:
        fetched = await asyncio.gather(*(fetch(session, room, page) for page in range(1, pages + 1)))
    if mode == "parquet":
        rows = [
            {"id": record["id"], "type": record["type"], **record["attributes"]} for page in fetched for record in page
        ]
        pq.write_table(pa.Table.from_pylist(rows), output / "all.parquet", compression="zstd")
        return
    with (output / "all.jsonl").open("w") as file:
        for page in fetched:
            for record in page:
                file.write(json.dumps(record) + "\n")


asyncio.run(main())
