"""Runs of ours that no command offers: a stream of record batches, and an export that stores no pages.

    python -m benchmarks.ours stream|unjournalled-parquet|unjournalled-ndjson BASE_URL RECORDS PAGE_SIZE DIRECTORY

`unjournalled` keeps pages in memory only, so the difference to an export is the cost of making pages durable.
Prints the number of records.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from bulk_export.core.process import configure_allocator

configure_allocator()  # as the command line does, before Arrow is there

import anyio

import bulk_export
from benchmarks.pages import ENDPOINT
from benchmarks.processes import TOKEN
from bulk_export.extract.journal import GroupCommit, StoredPage
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.transform.decode import Body

WITHOUT_LIMITS: dict[str, Any] = {
    "token": TOKEN,
    "budget": "memory://",
    "service_limit": "100000000/1s",
    "ip_limit": "100000000/1s",
    "min_interval": 0,
}


class InMemory(GroupCommit):
    """A journal writer that keeps pages in memory and stores none."""

    async def append(self, page: StoredPage, body: Body) -> None:
        """Keep a page until it is converted."""
        self._recent[page.key] = body
        self._recent_bytes += len(body)


async def run(kind: str, base_url: str, page_size: int, directory: str) -> int:
    """Return the number of records that arrived."""
    given = WITHOUT_LIMITS | {"base_url": base_url, "page_size": page_size}
    if kind == "stream":
        return sum([batch.num_rows async for batch in bulk_export.stream(ENDPOINT, **given)])
    form = kind.removeprefix("unjournalled-")
    options = ExportOptions.of([ENDPOINT], format=form, output=f"{directory}/out", **given)
    summary = await export(options, open_journal=InMemory)
    return summary.endpoints[0].records


if __name__ == "__main__":
    kind, base_url, _, page_size, directory = sys.argv[1:]
    print(json.dumps({"records": anyio.run(run, kind, base_url, int(page_size), directory)}))
