"""A service that is away for everybody: announced maintenance, a name that does not resolve, a closed port."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import ServiceFailing, ServiceRefused
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import Observer
from tests.support.raw_pages import QUICK, page_number, statement_options, ten_pages
from tests.support.raw_server import Connection, answer, raw_server, response


class Watcher(Observer):
    """What was said."""

    def __init__(self) -> None:
        self.away: list[tuple[str, float]] = []
        self.still: list[int] = []
        self.back: list[int] = []
        self.retried: list[str] = []
        self.pauses: list[float] = []
        self.first = anyio.Event()

    def unavailable(self, reason: str, pause: float) -> None:
        self.away.append((reason, pause))
        self.first.set()

    def still_unavailable(self, failures: int, pause: float) -> None:
        self.still.append(failures)

    def available_again(self, failures: int) -> None:
        self.back.append(failures)

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        self.retried.append(reason)

    def throttled(self, pause: float) -> None:
        self.pauses.append(pause)


def in_a_moment() -> str:
    """A date in the past by the service's clock: it is back already."""
    now = datetime.now(UTC)
    date, back = (format_datetime(moment, usegmt=True) for moment in (now, now - timedelta(seconds=1)))
    return f"Date: {date}\r\nRetry-After: {back}\r\n"


@pytest.mark.parametrize(
    ("status", "headers"),
    [(502, "Retry-After: 0.03\r\n"), (503, in_a_moment()), (504, "Retry-After: 0\r\n")],
    ids=["502", "503 with a date", "504"],
)
async def test_announced_maintenance_is_waited_out(tmp_path: Path, status: int, headers: str) -> None:
    """All requests wait for the end of an announced maintenance, which does not count as an attempt."""
    away = False

    async def script(connection: Connection, head: bytes, number: int) -> None:
        nonlocal away
        away = 7 <= number < 7 + 12
        await connection.send(response(b"", f"{status} Down", headers) if away else ten_pages(head))

    watcher = Watcher()
    async with raw_server(script) as server:
        options = statement_options(server.base_url, tmp_path / "out", page_size=10, workers=4, retries=0, max_wait=60)
        summary = await export(options, watcher, tuning=QUICK)
    assert summary.endpoints[0].records == 100
    assert watcher.retried == []
    assert 1 <= len(watcher.away) <= 12
    (reason,) = {reason for reason, _ in watcher.away}
    assert reason == f"the service answered {status} and announced when it will be back"
    # At most four were on their way when it began; each wait ends with a single request.
    assert len(watcher.away) >= 12 - 3


async def test_nothing_is_sent_while_a_wait_lasts(tmp_path: Path) -> None:
    times: list[float] = []

    async def script(connection: Connection, head: bytes, number: int) -> None:
        times.append(anyio.current_time())
        down = response(b"", "503 Down", "Retry-After: 0.1\r\n")
        await connection.send(down if number == 1 else ten_pages(head))

    async with raw_server(script) as server:
        await export(statement_options(server.base_url, tmp_path / "out", page_size=10, retries=0), tuning=QUICK)
    assert times[1] - times[0] >= 0.1


@pytest.mark.parametrize("status", ["503 Down", "429 Slow"])
async def test_too_long_wait_ends_the_run(tmp_path: Path, status: str) -> None:
    """A longer wait than allowed ends the run, and everything is kept."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        down = response(b"", status, "Retry-After: 7200\r\n")
        await connection.send(down if page_number(head) == 4 else ten_pages(head))

    async with raw_server(script) as server:
        with pytest.raises(ServiceFailing, match="announced a wait of 2 h, which is more than") as ended:
            await export(statement_options(server.base_url, tmp_path / "out", page_size=10, workers=1), tuning=QUICK)
        assert [page_number(head) for head in server.requests].count(4) == 1
    assert "--max-wait" in " ".join(ended.value.lines())
    assert "kept" in " ".join(ended.value.lines())


async def test_endless_announcements_are_given_up(tmp_path: Path) -> None:
    """A service that always announces a moment is given up."""
    async with raw_server(answer(response(b"", "503 Down", "Retry-After: 0\r\n"))) as server:
        with pytest.raises(ServiceFailing, match="one wait after another"):
            await export(statement_options(server.base_url, tmp_path / "out", max_wait="5s"), tuning=QUICK)
        assert len(server.requests) == 6


@pytest.mark.parametrize("header", ["", "Retry-After: soon\r\n", "Retry-After: -7\r\n"])
async def test_unannounced_503_is_a_page_failure(tmp_path: Path, header: str) -> None:
    """Without an announcement a 503 is a failure of the page."""
    async with raw_server(answer(response(b"", "503 Down", header))) as server:
        with pytest.raises(ServiceFailing, match="failed 3 times, last: status 503"):
            await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)


async def test_announced_429_is_honoured(tmp_path: Path) -> None:
    """A 429 holds requests for as long as it announces, even beyond the period of the limit."""
    times: list[float] = []

    async def script(connection: Connection, head: bytes, number: int) -> None:
        times.append(anyio.current_time())
        slow = response(b"cut", "429 Slow", "Retry-After: 0.5\r\n", length=99)
        await connection.send(slow if number == 1 else ten_pages(head))
        if number == 1:
            raise anyio.EndOfStream

    watcher = Watcher()
    async with raw_server(script) as server:
        limits = {"service_limit": "1000/100ms", "ip_limit": "1000/100ms", "budget": "memory://"}
        options = statement_options(server.base_url, tmp_path / "out", page_size=10, retries=0, **limits)
        await export(options, watcher, tuning=QUICK)
    assert watcher.pauses == [0.5]
    assert times[1] - times[0] >= 0.5


def closed_port() -> socket.socket:
    """A port of ours that refuses connections until it is listened on."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken


async def test_refused_connection_is_probed(tmp_path: Path) -> None:
    """A refused connection is tried by one request at a time, and reported once."""
    watcher = Watcher()
    with closed_port() as taken:
        options = statement_options(
            f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "out", workers=16, retries=11
        )
        with pytest.raises(ServiceFailing, match="failed 12 times, last: no connection: Connection refused"):
            await export(options, watcher, tuning=QUICK)
    assert [reason for reason, _ in watcher.away] == ["no connection: Connection refused"]
    assert watcher.still == list(range(2, 12))
    assert watcher.retried == []


async def test_when_the_service_is_back_the_export_goes_on(tmp_path: Path) -> None:
    watcher = Watcher()

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(ten_pages(head))

    with closed_port() as taken:
        port = taken.getsockname()[1]

    async def come_back() -> None:
        await watcher.first.wait()
        async with raw_server(script, port=port):
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_back)
        options = statement_options(f"http://127.0.0.1:{port}", tmp_path / "out", page_size=10)
        summary = await export(options, watcher, tuning=replace(QUICK, shortest_backoff=0.05, longest_backoff=0.1))
        tasks.cancel_scope.cancel()
    assert summary.endpoints[0].records == 100
    assert len(watcher.back) == 1


async def test_unresolved_name_is_reported_once(tmp_path: Path) -> None:
    """A host name that does not resolve is reported once."""
    watcher = Watcher()
    options = statement_options("https://does-not-exist.invalid", tmp_path / "out", retries=11)
    with pytest.raises(ServiceFailing, match="failed 12 times, last: the host name"):
        await export(options, watcher, tuning=QUICK)
    assert len(watcher.away) == 1


async def test_status_407_is_of_the_proxy(tmp_path: Path) -> None:
    """A status 407 is called the proxy's even if the service sends it."""
    async with raw_server(answer(response(b"", "407 Who"))) as server:
        with pytest.raises(ServiceRefused, match="407") as refused:
            await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)
    assert "proxy" in refused.value.next_step


async def test_redirect_to_invalid_address(tmp_path: Path) -> None:
    """A redirect to an invalid address is final."""
    async with raw_server(answer(response(b"", "302 Found", "Location: http://[bad\r\n"))) as server:
        with pytest.raises(ServiceRefused, match="302: a redirect to what is not an address"):
            await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_duplicate_responses_lose_nothing(tmp_path: Path, pause: float) -> None:
    """An export from a service that sends each response twice is right."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await anyio.sleep(1.5 * pause)
        await connection.send(ten_pages(head))
        await anyio.sleep(pause)
        await connection.send(ten_pages(head))

    async with raw_server(script) as server:
        summary = await export(statement_options(server.base_url, tmp_path / "out", page_size=10))
    assert (summary.endpoints[0].records, summary.endpoints[0].duplicates) == (100, 0)


@pytest.mark.parametrize("limit", [6, 20])
def test_too_few_open_files(tmp_path: Path, limit: int) -> None:
    """A limit of open files that is too low is reported before anything is done.

    In a process of its own: a limit that was lowered cannot be raised again by everybody.
    """
    import subprocess
    import sys

    program = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}));"
        "from bulk_export.cli import main; sys.argv[1:] = ['export', '--environment', 'local', '--output', 'out'];"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert f"may not open enough files and connections ({limit} at most)" in done.stderr
    assert "ulimit -n" in done.stderr
    assert list(tmp_path.iterdir()) == []
