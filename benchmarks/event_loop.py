"""The CPU time that a page costs the event loop: with the HTTP library alone, with our client, and in an export.

    python -m benchmarks.event_loop                      this checkout, some minutes
    python -m benchmarks.event_loop --against CHECKOUT   and another one, in turn with this one

Everything is a process of its own, against a server in another process with pages rendered ahead. The first pages are
left out: their time has the imports and the search for the end of the list. Times are those of the thread that runs
the loop, and of the whole process; where other programs share the machine, only ratios mean something.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.pages import ENDPOINT
from benchmarks.processes import ROOT, TOKEN, cores, placed, rendered, surroundings
from bulk_export.core.process import configure_allocator
from bulk_export.progress.observer import Observer

_CONNECTIONS = 8
_WARM = 40
_TARGET = "/api/v3/npq-applications?page%5Bpage%5D={page}&page%5Bper_page%5D=300"


class Stopwatch(Observer):
    """Measures from one page to another."""

    def __init__(self, pages: int) -> None:
        self._pages, self._seen = pages, 0
        self._began = (0.0, 0.0)
        self.milliseconds: dict[str, float] = {}

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """Count a page."""
        self._seen += 1
        now = time.thread_time(), time.process_time()
        if self._seen == _WARM:
            self._began = now
        elif self._seen == self._pages:
            loop, process = (
                1_000 * (at - began) / (self._pages - _WARM) for at, began in zip(now, self._began, strict=True)
            )
            self.milliseconds = {"event loop": loop, "process": process}


async def _fetch_all(fetch: Callable[[int], Awaitable[object]], watch: Stopwatch, pages: int) -> None:
    left = iter(range(1, pages + 1))

    async def worker() -> None:
        for page in left:
            await fetch(page)
            watch.page_stored(ENDPOINT, page, 0)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CONNECTIONS):
            tasks.create_task(worker())


async def library(base_url: str, pages: int, watch: Stopwatch) -> None:
    """Read bodies with aiohttp alone."""
    import aiohttp

    headers = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def fetch(page: int) -> None:
            async with session.get(base_url + _TARGET.format(page=page)) as response:
                await response.read()

        await _fetch_all(fetch, watch, pages)


async def client(base_url: str, pages: int, watch: Stopwatch) -> None:
    """Read bodies with our client: caps, timeouts, one sending, checks of the connection."""
    from bulk_export.core.credentials import Token
    from bulk_export.extract.client import HttpClient

    async with HttpClient(base_url, Token(TOKEN), body_cap=10**8) as ours:
        await _fetch_all(lambda page: ours.get_while(lambda: True, _TARGET.format(page=page)), watch, pages)


def exporting(form: str, budget: str) -> Callable[[str, int, Stopwatch], Coroutine[Any, Any, None]]:
    """A whole export."""

    async def run(base_url: str, pages: int, watch: Stopwatch) -> None:
        from bulk_export.pipelines.export import export
        from bulk_export.pipelines.options import ExportOptions

        with tempfile.TemporaryDirectory(prefix="bulk-export-bench-") as folder:
            free = {"service_limit": "100000000/1s", "ip_limit": "100000000/1s", "min_interval": 0, "token": TOKEN}
            given = {"base_url": base_url, "output": f"{folder}/out", "budget": budget.format(folder), **free}
            await export(ExportOptions.of([ENDPOINT], format=form, **given), watch)

    return run


WAYS = {
    "aiohttp alone": library,
    "our client alone": client,
    "export to NDJSON": exporting("ndjson", "memory://"),
    "export to Parquet": exporting("parquet", "memory://"),
    "export to NDJSON, budget in a file": exporting("ndjson", "sqlite:///{}/budget.sqlite"),
}


def measured(way: str, base_url: str, pages: int) -> dict[str, float]:
    """Milliseconds a page, in this process."""
    configure_allocator()
    watch = Stopwatch(pages)
    factory = importlib.import_module("uvloop").new_event_loop if importlib.util.find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(WAYS[way](base_url, pages, watch))
    return watch.milliseconds


def main() -> None:
    """Measure all ways in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(*given.one, given.pages)))
        return
    checkouts = [ROOT] if given.against is None else [given.against.resolve(), ROOT]
    taken: dict[tuple[str, Path], list[dict[str, float]]] = {}
    with rendered(300 * given.pages, 300, "plain") as base_url, placed(cores()[1]):
        for _ in range(given.rounds):
            for way in WAYS:
                for checkout in checkouts:
                    # This very file, with the package of the checkout that it runs in.
                    command = [sys.executable, __file__, "--pages", str(given.pages), "--one", way, base_url]
                    environment = surroundings({"PYTHONPATH": f"{checkout}:{ROOT}"})
                    done = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True)
                    taken.setdefault((way, checkout), []).append(json.loads(done.stdout))
    for (way, checkout), rows in taken.items():
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        shown = (f"{name} {statistics.median(one):.3f} ms (least {min(one):.3f})" for name, one in columns.items())
        print(f"{way:36} {'this' if checkout == ROOT else 'other':5}  {', '.join(shown)}")


if __name__ == "__main__":
    main()
