"""Pages of made-up npq applications as whole HTTP answers, rendered ahead into one file.

The file holds the answers for pages 1, 2, … and then the one for every page past the end; beside it stands where each
begins. Files are kept between runs, named after what they hold.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bulk_export.services.catalogue import load_service
from bulk_export.services.local.records import RecordFactory

ENDPOINT = "npq-applications"
CACHE = Path(__file__).parent / "results" / "pages"
# What web servers compress with when nothing else is said.
_GZIP_LEVEL = 6
_PAGES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers in a file: the one for page n stands between `offsets[n - 1]` and `offsets[n]`."""

    path: Path
    offsets: tuple[int, ...]

    @classmethod
    def load(cls, path: Path) -> Pages:
        """The pages that `prepare` left at `path`."""
        return cls(path, tuple(json.loads(path.with_suffix(".json").read_text())))

    def span(self, page: int) -> tuple[int, int]:
        """Where the answer for a page begins and how long it is, in bytes."""
        number = min(page, len(self.offsets) - 1)
        return self.offsets[number - 1], self.offsets[number] - self.offsets[number - 1]


def factory(records: int) -> RecordFactory:
    """Makes the records that the pages hold."""
    (endpoint,) = [one for one in load_service("npq").endpoints if one.name == ENDPOINT]
    return RecordFactory(endpoint, 0, people=records, applications=records)


def body(made_by: RecordFactory, first: int, count: int) -> bytes:
    """The body of a page with `count` records from number `first` on."""
    records = (
        made_by.record(number, 0, made_by.created_at(number), made_by.updated_at(number))
        for number in range(first, first + count)
    )
    return ('{"data":[' + ",".join(records) + "]}").encode()


def answer(content: bytes, encoding: str) -> bytes:
    """The HTTP answer with a body, `plain` or `gzip`."""
    header = b""
    if encoding == "gzip":
        compressor = zlib.compressobj(level=_GZIP_LEVEL, wbits=31)
        content = compressor.compress(content) + compressor.flush()
        header = b"Content-Encoding: gzip\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
    return head % (header, len(content)) + content


def prepare(records: int, page_size: int, encoding: str, cache: Path = CACHE) -> Path:
    """A file with the pages of `records` records; rendered now unless an earlier run left it."""
    sample = hashlib.sha256(answer(body(factory(records), 0, min(records, page_size)), encoding)).hexdigest()[:12]
    path = cache / f"{records}-{page_size}-{encoding}-{sample}.http"
    index = path.with_suffix(".json")
    if index.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    offsets = [0]
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            for rendered in _rendered(records, page_size, encoding):
                file.write(rendered)
                offsets.append(offsets[-1] + len(rendered))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    index.write_text(json.dumps(offsets))
    return path


def _rendered(records: int, page_size: int, encoding: str) -> Iterator[bytes]:
    some = _PAGES_AT_ONCE * page_size
    render = partial(_render_some, records, page_size, encoding)
    if records <= some:
        yield from itertools.chain.from_iterable(map(render, range(0, records, some)))
    else:
        with ProcessPoolExecutor() as processes:
            yield from itertools.chain.from_iterable(processes.map(render, range(0, records, some)))
    yield answer(body(factory(records), 0, 0), encoding)


def _render_some(records: int, page_size: int, encoding: str, first: int) -> list[bytes]:
    made_by = factory(records)
    end = min(records, first + _PAGES_AT_ONCE * page_size)
    return [
        answer(body(made_by, start, min(page_size, end - start)), encoding) for start in range(first, end, page_size)
    ]


if __name__ == "__main__":
    print(prepare(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
