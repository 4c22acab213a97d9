"""What a whole export makes of a service that lies, repeats itself, or falls silent."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pyarrow.parquet as pq
import pytest

from bulk_export.errors import DamagedState, Interrupted, LocalFailure, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.tuning import Tuning
from bulk_export.services.local import serving
from tests.support.disturbed_run import TUNING, small_options
from tests.support.exporting import options, settings
from tests.support.killed_exports import serving_unfinished
from tests.support.raw_pages import QUICK, page_number, statement_options, statements_body
from tests.support.raw_server import Connection, answer, raw_server, response
from tests.support.restore import restore
from tests.support.small_service import content_of


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>maintenance</html>",
        b'{"data":null}',
        b'{"errors":[]}',
        b"[]",
        b'{"data":[1]}',
        b'{"data":[{"id":"a"',
    ],
)
async def test_invalid_page_is_retried(tmp_path: Path, body: bytes) -> None:
    """A response with status 200 that is not a page is retried, and then the message names the page."""
    async with raw_server(answer(response(body))) as server:
        with pytest.raises(ServiceFailing, match="Page 1 of statements failed 3 times") as failed:
            await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)
        assert len(server.requests) == 3
    assert failed.value.exit_code == 4
    assert not (tmp_path / "out/manifest.json").exists()


async def test_page_that_always_fails(tmp_path: Path) -> None:
    """A page that always fails is named, and the other pages are kept."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        number = page_number(head)
        if number == 3:
            await connection.send(response(b"", "500 Oops"))
        else:
            await connection.send(response(statements_body(number * 10, 10 if number < 8 else 0)))

    output = tmp_path / "out"
    async with raw_server(script) as server:
        with pytest.raises(ServiceFailing, match="Page 3 of statements failed 3 times, last: status 500"):
            await export(statement_options(server.base_url, output, page_size=10), tuning=QUICK)
        before = {page_number(head) for head in server.requests}

    async def healed(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(response(statements_body(page_number(head) * 10, 10 if page_number(head) < 8 else 0)))

    async with raw_server(healed, port=server.port) as server:
        summary = await export(statement_options(server.base_url, output, page_size=10), tuning=QUICK)
        after = {page_number(head) for head in server.requests}
    assert summary.endpoints[0].records == 70
    # That page 8 is empty takes two answers, since page 7 is full; the first may be too late for the first run.
    assert before & after in ({3}, {3, 8})


async def test_many_errors_cause_few_requests(tmp_path: Path) -> None:
    """A service that fails every request gets a few requests only."""
    async with raw_server(answer(response(b"", "503 Busy"))) as server:
        with pytest.raises(ServiceFailing):
            await export(statement_options(server.base_url, tmp_path / "out", workers=16), tuning=QUICK)
        assert len(server.requests) == 3


async def test_repeated_page_is_noticed(tmp_path: Path) -> None:
    """A service that sends the same page again and again is noticed."""
    async with raw_server(answer(response(statements_body(0, 10)))) as server:
        with pytest.raises(ServiceFailing, match="same page again and again"):
            await export(statement_options(server.base_url, tmp_path / "out", page_size=10), tuning=QUICK)
        assert len(server.requests) < 12


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
async def test_rejection_costs_one_request(tmp_path: Path, status: int) -> None:
    """A rejection is final after one request, and the message quotes the service."""
    said = json.dumps({"errors": [{"title": "No", "detail": "thank you"}]}).encode()
    async with raw_server(answer(response(said, f"{status} Refused"))) as server:
        with pytest.raises(ServiceRefused, match=f"status {status}: No: thank you"):
            await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)
        assert len(server.requests) == 1


async def test_redirect_is_final(tmp_path: Path) -> None:
    """A redirect is final, and its target receives nothing."""
    async with raw_server(answer(response(statements_body(0, 1)))) as target:
        headers = f"Location: {target.base_url}/api/v3/statements\r\n"
        async with raw_server(answer(response(b"", "302 Found", headers))) as server:
            with pytest.raises(ServiceRefused, match="a redirect to"):
                await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)
            assert len(server.requests) == 1
    assert target.requests == []


async def test_a_token_revoked_midway_keeps_what_was_fetched(tmp_path: Path) -> None:
    output = tmp_path / "out"
    async with serving(settings(records_by_endpoint={"npq-applications": 400})) as service:

        def revoke(it: object, record: object) -> None:
            if len(service.log) == 9:
                object.__setattr__(service.settings, "token", "another")

        service.before_request = revoke
        with pytest.raises(ServiceRefused, match="401"):
            await export(options(service, output, "npq-applications", page_size=20, workers=2))
        service.before_request = None
        stored = len(service.log)
        renewed = options(service, output, "npq-applications", page_size=20, workers=2, token="another")
        summary = await export(renewed)
        assert summary.endpoints[0].records == 400
        assert len(service.log) - stored <= 22 - 6


async def test_a_stalled_request_does_not_stop_the_others(tmp_path: Path) -> None:
    stalled = anyio.Event()

    async def script(connection: Connection, head: bytes, number: int) -> None:
        if page_number(head) == 5 and not stalled.is_set():
            stalled.set()
            await anyio.sleep_forever()
        await connection.send(response(statements_body(page_number(head) * 10, 10 if page_number(head) < 30 else 0)))

    async with raw_server(script) as server:
        summary = await export(statement_options(server.base_url, tmp_path / "out", page_size=10), tuning=QUICK)
        pages = [page_number(head) for head in server.requests]
    assert summary.endpoints[0].records == 290
    assert pages.count(5) == 2
    assert len(pages) - pages[::-1].index(5) > 20


@pytest.mark.parametrize("name", ["journal.sqlite"])
async def test_damaged_state_is_refused(tmp_path: Path, name: str) -> None:
    """Damaged state is refused with the reason, and left as it is."""
    output = tmp_path / "out"
    stop = anyio.Event()
    stop.set()
    async with serving(settings()) as service:
        with pytest.raises(Interrupted):
            await export(options(service, output, "statements"), stop=stop)
        path = output / ".bulk-export" / name
        path.write_bytes(b"scribble" * 1_000)
        sent = len(service.log)
        with pytest.raises(DamagedState, match="cannot be trusted"):
            await export(options(service, output, "statements"))
        assert path.read_bytes() == b"scribble" * 1_000
        assert len(service.log) == sent


@pytest.mark.parametrize("damage", ["changed", "cut short", "missing"])
async def test_damaged_pages_are_refused(room: Path, damage: str) -> None:
    """Stored pages that were changed, cut short or lost are noticed before a request, and left as they are."""
    async with serving_unfinished(room) as service:
        segment = room / "unfinished/.bulk-export/journal.pages"
        whole = segment.read_bytes()
        segment.unlink()
        if damage != "missing":
            left = whole[:-1] if damage == "cut short" else bytes([*whole[:99], whole[99] ^ 1, *whole[100:]])
            segment.touch(0o600)
            segment.write_bytes(left)
        with pytest.raises(DamagedState, match=r"journal\.sqlite cannot be trusted: .*page") as refused:
            await export(small_options(service.base_url, room / "unfinished"), tuning=TUNING)
        assert refused.value.kept == "Nothing was deleted."
        assert service.requests == []
        assert damage == "missing" or segment.read_bytes() == left
        # As it was, it goes on.
        segment.touch(0o600)
        segment.write_bytes(whole)
        await export(small_options(service.base_url, room / "unfinished"), tuning=TUNING)
        assert service.requests == []
        assert content_of(room / "unfinished") == content_of(room / "finished")


async def test_changed_part_is_noticed(tmp_path: Path) -> None:
    """A finished part that was changed is noticed on resume."""
    output = tmp_path / "out"
    folder = output / ".bulk-export/parts/npq-applications/revision-0"
    stop = anyio.Event()
    tuning = Tuning(part_rows=1_000)
    async with serving(settings(records_by_endpoint={"npq-applications": 30_000}, latency=0.01)) as service:

        def stop_after_a_part(it: object, record: object) -> None:
            if folder.is_dir() and list(folder.glob("*.parquet")):
                stop.set()

        service.before_request = stop_after_a_part
        chosen = options(service, output, "npq-applications", page_size=200, workers=2)
        with pytest.raises(Interrupted):
            await export(chosen, stop=stop, tuning=tuning)
        (folder / "part-00000.parquet").unlink()
        with pytest.raises(DamagedState, match=r"part-00000\.parquet, is missing"):
            await export(chosen, tuning=tuning)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"NaN", "NaN or Infinity"),
        (b"-Infinity", "NaN or Infinity"),
        (b'"secret\x00"', "not JSON at byte"),
        (b'"secret\xff"', "not UTF-8 at byte"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
    ],
    ids=["NaN", "Infinity", "a bare NUL", "no UTF-8", "depth"],
)
async def test_invalid_json_is_located_not_quoted(tmp_path: Path, value: bytes, reason: str) -> None:
    """The message about invalid JSON says at which byte it is, and quotes nothing."""
    body = b'{"data":[{"id":"secret-1","type":"statement","attributes":{"name":' + value + b"}}]}"
    async with raw_server(answer(response(body))) as server:
        with pytest.raises(ServiceFailing, match="Page 1 of statements failed 3 times") as failed:
            await export(statement_options(server.base_url, tmp_path / "out"), tuning=QUICK)
    said = "\n".join(failed.value.lines())
    assert reason in said
    assert "secret" not in said


async def test_unusual_characters_are_exact(tmp_path: Path) -> None:
    """An escaped NUL, a lone surrogate and a byte order mark are exported exactly."""
    body = (
        b'\xef\xbb\xbf{"data":[{"id":"1","type":"statement","attributes":{"name":"a\\u0000b"}},'
        b'{"id":"2","type":"statement","attributes":{"name":"\\ud800"}}]}'
    )
    async with raw_server(answer(response(body))) as server:
        await export(statement_options(server.base_url, tmp_path / "out", format=["parquet", "ndjson"]), tuning=QUICK)
    lines = (tmp_path / "out/statements/part-00000.ndjson").read_bytes().splitlines()
    assert [json.loads(line)["attributes"]["name"] for line in lines] == ["a\0b", "\ud800"]
    rows = pq.read_table(tmp_path / "out/statements/part-00000.parquet").to_pylist()
    assert [restore(row)["attributes"]["name"] for row in rows] == ["a\0b", "\ud800"]


@pytest.mark.parametrize("occupied", ["a file", "a link", "files of others", "a linked working directory", "nowhere"])
async def test_foreign_output_is_refused(tmp_path: Path, occupied: str) -> None:
    """An output that is not ours is refused before the first request."""
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "letter.txt").write_text("mine")
    match occupied:
        case "a file":
            output.write_text("mine")
        case "a link":
            output.symlink_to(elsewhere)
        case "files of others":
            output = elsewhere
        case "a linked working directory":
            output.mkdir()
            (output / ".bulk-export").symlink_to(elsewhere)
        case _:
            output = Path("/proc/nowhere/out")  # nobody can make it, whoever they are
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    async with serving(settings()) as service:
        with pytest.raises(UsageError):
            await export(options(service, output, "statements"))
        assert len(service.log) == 0
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before


async def test_full_disk_is_a_local_failure(tmp_path: Path) -> None:
    """A full disk is a local failure, and the export goes on when there is space."""
    import resource
    import signal

    output = tmp_path / "out"
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with serving(settings()) as service:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
        try:
            with pytest.raises(LocalFailure):
                await export(options(service, output, "npq-applications", page_size=50))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)
        before = len(service.log)
        assert 0 < before < 48
        summary = await export(options(service, output, "npq-applications", page_size=50))
        assert summary.endpoints[0].records == 2_345
        # What eight workers had in hand is requested again, and the page behind the last one as always.
        assert len(service.log) - before <= 48 - before + 8 + 1
