"""Whatever a service sends, an export is right or says why not: arbitrary answers over a real socket."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulk_export.errors import BulkExportError, ServiceFailing, ServiceRefused
from bulk_export.extract.client import Timeouts
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tuning import Tuning
from tests.support.raw_pages import page_number
from tests.support.raw_server import Connection, raw_server, response

PAGE_SIZE = 5
PAGES = 6
SECRET = "a-person-nobody-may-name"
TUNING = Tuning(shortest_backoff=0.0, longest_backoff=0.0, timeouts=Timeouts(connect=2, read=2, total=4, settling=0))
# More requests than pages, retries and the search for the end can take.
MOST_REQUESTS = 150


def records(page: int) -> list[dict[str, Any]]:
    """What page `page` holds when the service is well."""
    count = PAGE_SIZE if page < PAGES else 2 if page == PAGES else 0
    first = (page - 1) * PAGE_SIZE
    return [
        {"id": f"{first + row:06}", "type": "participant", "attributes": {"full_name": f"{SECRET} {first + row}"}}
        for row in range(count)
    ]


@dataclass(frozen=True)
class Bytes:
    """An answer with status 200 and a body that is no page."""

    body: bytes
    headers: str = ""

    def wire(self, page: int) -> bytes:
        return response(self.body, headers=self.headers)


@dataclass(frozen=True)
class Status:
    """An answer with another status, whatever its body."""

    status: int
    body: bytes

    def wire(self, page: int) -> bytes:
        return response(self.body, f"{self.status} Whatever")


@dataclass(frozen=True)
class Cut:
    """The page, cut at some place of the answer, and the connection closed."""

    share: float

    def wire(self, page: int) -> bytes:
        whole = response(body_of(records(page)))
        return whole[: int(len(whole) * self.share)]


@dataclass(frozen=True)
class Junk:
    """Bytes that need not be HTTP, and the connection closed."""

    content: bytes

    def wire(self, page: int) -> bytes:
        return self.content


@dataclass(frozen=True)
class Other:
    """A sound page that is not the one asked for: another one, or its first records only."""

    page: int | None
    count: int

    def given(self, page: int) -> list[dict[str, Any]]:
        return records(self.page or page)[: self.count]

    def wire(self, page: int) -> bytes:
        return response(body_of(self.given(page)))


Answer = Bytes | Status | Cut | Junk | Other


def body_of(page: list[dict[str, Any]]) -> bytes:
    return json.dumps({"data": page}).encode()


def is_page(body: bytes) -> bool:
    """Whether some reader could take these bytes for a page: then they are not for this test."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("data"), list)


BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: f"<html>{text}{SECRET}</html>".encode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.just(SECRET),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "id", "x"]), inner),
        max_leaves=8,
    ).map(lambda document: json.dumps(document).encode()),
    st.integers(1, 60_000).map(lambda depth: b'{"data":' + b"[" * depth),
).filter(lambda body: not is_page(body))
HEADERS = st.sampled_from(
    [
        "",
        "Content-Encoding: gzip\r\n",
        "Content-Encoding: br\r\n",
        "Content-Encoding: gzip, gzip\r\n",
        "Content-Type: text/html; charset=utf-7\r\n",
        "Retry-After: -1\r\n",
        f"X-Long: {'x' * 9000}\r\n",
        "Transfer-Encoding: chunked\r\n",
    ]
)
ANSWERS = st.one_of(
    st.builds(Bytes, BODIES, HEADERS),
    st.builds(Status, st.sampled_from([500, 502, 503, 504, 599, 408]), BODIES),
    st.builds(Status, st.sampled_from([204, 206, 301, 302, 304, 400, 401, 403, 404, 418, 422]), BODIES),
    st.builds(Cut, st.floats(0, 0.99)),
    st.builds(Junk, st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest)),
    st.builds(Other, st.integers(1, PAGES), st.just(PAGE_SIZE)),
    st.builds(Other, st.none(), st.integers(1, PAGE_SIZE)),
)


@dataclass
class Service:
    """Sends the given answers to requests in order of arrival, None standing for the right one, and then right ones.

    `served` holds the longest sound page that was sent for each page, the last of equals, which is the one that must be
    in the result. Where a page was another one than was asked for, in `strayed`, the right ones must be; which others
    are is not known.
    """

    answers: Iterator[Answer | None]
    served: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    strayed: list[dict[str, Any]] = field(default_factory=list)

    async def script(self, connection: Connection, head: bytes, number: int) -> None:
        page = page_number(head)
        answer = next(self.answers, None)
        if answer is None:
            self.served[page] = records(page)
            await connection.send(response(body_of(records(page))))
            return
        if isinstance(answer, Other):
            if len(answer.given(page)) >= len(self.served.get(page, ())):
                self.served[page] = answer.given(page)
            if answer.page not in (None, page):
                self.strayed.extend(answer.given(page))
        await connection.send(answer.wire(page))
        if isinstance(answer, Cut | Junk):
            raise anyio.EndOfStream


def assert_right(output: Path, service: Service) -> None:
    """Each record of the sound pages once, in the order of the pages."""
    served = service.served
    lines = [json.loads(line) for line in (output / "participants-npq/part-00000.ndjson").read_bytes().splitlines()]
    expected = {record["id"]: record for page in sorted(served) for record in served[page]}
    found = {line["id"]: line for line in lines}
    assert len(found) == len(lines)
    if service.strayed:
        right = {record["id"]: record for page, sent in served.items() if sent == records(page) for record in sent}
        there = {record["id"]: record for page in range(1, PAGES + 1) for record in records(page)}
        assert all(found.get(identity) == record for identity, record in right.items())
        assert all(there.get(identity) == record for identity, record in found.items())
    else:
        assert found == expected
    assert verify(output).files == 2


def assert_clear(error: BulkExportError, output: Path) -> None:
    """Two lines without anybody's name, and nothing that looks like a result."""
    assert len(error.lines()) == 2
    assert SECRET not in "".join(error.lines())
    assert not (output / "manifest.json").exists()


async def play(answers: list[Answer | None], workers: int, output: Path) -> None:
    service = Service(iter(answers))
    async with raw_server(service.script) as server:
        options = ExportOptions.of(
            ["participants-npq"],
            base_url=server.base_url,
            token="t",
            output=output,
            budget="memory://",
            service_limit="100000/1s",
            ip_limit="100000/1s",
            min_interval=0,
            page_size=PAGE_SIZE,
            workers=workers,
            retries=2,
            format=("parquet", "ndjson"),
        )
        with anyio.fail_after(20):
            for _ in range(len(answers) + 2):
                try:
                    await export(options, tuning=TUNING)
                except (ServiceFailing, ServiceRefused) as error:
                    assert_clear(error, output)
                    if "same page again and again" in error.what:
                        return
                except BulkExportError as error:
                    raise AssertionError(f"the wrong error: {error!r}") from error
                else:
                    assert_right(output, service)
                    return
                assert len(server.requests) < MOST_REQUESTS
        raise AssertionError("a service that is well again, and no export")


def check(answers: list[Answer | None], workers: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(answers, workers, Path(directory) / "out"))


GIVEN = given(answers=st.lists(st.none() | ANSWERS, max_size=12), workers=st.integers(1, 4))


# A page that ended the list was converted; then the list went on, and the page came again, longer.
CONVERTED_AND_LONGER: list[Answer | None] = [
    None,
    Other(None, 1),
    Cut(0.9),
    Other(1, PAGE_SIZE),
    Bytes(b"", ""),
    Bytes(b"", ""),
    Other(4, PAGE_SIZE),
    Cut(0.9),
    Status(301, b""),
    None,
    Status(500, b"null"),
]


@pytest.mark.slow
@GIVEN
@example(answers=CONVERTED_AND_LONGER, workers=4)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_any_response_gives_right_export_or_reason(answers: list[Answer | None], workers: int) -> None:
    """Whatever a service sends, the export is right or says why it is not."""
    check(answers, workers)


@pytest.mark.fuzz
@GIVEN
@settings(deadline=None, max_examples=5_000, suppress_health_check=[HealthCheck.too_slow])
def test_any_response_at_length(answers: list[Answer | None], workers: int) -> None:
    """Whatever a service sends, the export is right or says why it is not, for hours."""
    check(answers, workers)
