"""A run in which everything goes wrong, and a search for the token and for what records held in all that it leaves."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import anyio
import pytest
from aiohttp import web

TOKEN = "canary/token+7f3a&9c=="
PERSON = "Canary Ünwin-Ødegård 5e1d"
NUMBER = "canary-trn-8842093"
UNKNOWN = "canary-unknown-31337"
PERSONAL = (PERSON, NUMBER, UNKNOWN)


def forms(text: str) -> dict[str, bytes]:
    """The ways in which a text may stand somewhere, as nobody would find it by eye."""
    plain = text.encode()
    encoded = [base64.b64encode(b"x" * shift + plain) for shift in range(3)]
    inner = {f"base64 at {shift}": code[(4 * shift + 2) // 3 : -4] for shift, code in enumerate(encoded)}
    return {
        "plain": plain,
        "escaped": json.dumps(text)[1:-1].encode(),
        "UTF-16": text.encode("utf-16-le"),
        "hexadecimal": plain.hex().encode(),
        "percent": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "reversed": plain[::-1],
        **inner,
    }


def found_in(content: bytes, text: str) -> list[str]:
    """The forms in which a text stands in a content, in letters of either case."""
    lower = content.lower()
    return [name for name, form in forms(text).items() if form.lower() in lower]


@dataclass
class Trouble:
    """What the service does beside answering: `before` decides on a request's own answer by its number."""

    base_url: str = ""
    requests: int = 0
    before: Callable[[int], web.Response | None] = field(default=lambda number: None)


@asynccontextmanager
async def canary_service() -> AsyncIterator[Trouble]:
    trouble = Trouble()

    def page(number: int) -> bytes:
        records = [
            {
                "id": f"{number:04}{row:04}",
                "type": "participant",
                "attributes": {
                    "full_name": PERSON,
                    "teacher_reference_number": NUMBER,
                    "updated_at": f"not a time: {NUMBER}",
                    "unheard_of": {"note": UNKNOWN},
                },
            }
            for row in range(10 if number < 30 else 3 if number == 30 else 0)
        ]
        return json.dumps({"data": records}).encode()

    async def answer(request: web.Request) -> web.Response:
        trouble.requests += 1
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        instead = trouble.before(trouble.requests)
        return instead or web.Response(body=page(int(request.query["page[page]"])), content_type="application/json")

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    trouble.base_url = f"http://{host}:{port}"
    try:
        yield trouble
    finally:
        await runner.cleanup()


@dataclass
class Run:
    """What a process that has ended showed of itself."""

    code: int
    output: bytes
    line: bytes


async def run(tmp_path: Path, base_url: str, *more: str, started: Callable[[int], None] = lambda pid: None) -> Run:
    command = [sys.executable, "-m", "bulk_export", "export", "participants-npq", "--base-url", base_url]
    command += ["--debug", "--page-size", "10", "--workers", "3", "--retries", "2", "--min-interval", "0"]
    command += ["--format", "parquet", "--format", "ndjson", "--output", "out", "--progress", "plain", *more]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULK_EXPORT_")}
    process = await anyio.open_process(
        command,
        cwd=tmp_path,
        env=clean | {"BULK_EXPORT_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with process:
        started(process.pid)
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert process.stdout is not None
        output = b"".join([chunk async for chunk in process.stdout])
        return Run(await process.wait(), output, line)


def assert_secret(tmp_path: Path, *runs: Run) -> set[Path]:
    """No token anywhere, nothing personal but in data; the files that do hold something personal."""
    for one in runs:
        for text in (TOKEN, *PERSONAL):
            assert found_in(one.output, text) == []
            assert found_in(one.line, text) == []
    holding = set()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert found_in(content + bytes(path), TOKEN) == [], path
            if any(found_in(content + bytes(path), text) for text in PERSONAL):
                holding.add(path.relative_to(tmp_path))
    return holding


def of_data(path: Path) -> bool:
    return path.parts[1] == "participants-npq" or path.parts[1] == ".bulk-export"


@pytest.mark.parametrize("log_format", ["text", pytest.param("json", marks=pytest.mark.torture)])
async def test_no_secret_left_by_troubled_run(tmp_path: Path, log_format: str) -> None:
    """Neither the token nor a person's data is found in what a troubled run leaves."""
    form = ("--log-format", log_format)
    cut = json.dumps({"data": [{"id": "1", "attributes": {"full_name": PERSON, "trn": NUMBER}}]})[:-9].encode()

    def trouble_then_refusal(number: int) -> web.Response | None:
        if number > 14:
            return web.Response(status=401, text='{"error":"HTTP Token: Access denied"}')
        if number % 4 == 0:
            return web.Response(status=500, body=cut)
        return web.Response(body=cut) if number % 4 == 1 else None

    async with canary_service() as service:
        service.before = trouble_then_refusal
        # In whichever order the workers ask, no page uses up its retries before the refusal.
        refused = await run(tmp_path, service.base_url, *form, "--retries", "9")
        assert (refused.code, b"Access denied" in refused.output, b"Traceback" in refused.output) == (3, True, True)
        assert all(map(of_data, assert_secret(tmp_path, refused)))

        service.before = lambda number: web.Response(status=503, body=cut)
        failing = await run(tmp_path, service.base_url, *form)
        assert (failing.code, b"Traceback" in failing.output) == (4, True)

        service.before = lambda number: None
        done = await run(tmp_path, service.base_url, *form)
        assert done.code == 0, done.output
        holding = assert_secret(tmp_path, refused, failing, done)
    assert Path("out/participants-npq/part-00000.ndjson") in holding
    assert all(path.parts[1] == "participants-npq" for path in holding)


async def test_no_secret_left_by_crash(tmp_path: Path) -> None:
    """Neither the token nor a person's data is found in what a crash leaves."""
    async with canary_service() as service:
        pids: list[int] = []

        def kill(number: int) -> web.Response | None:
            if number == 12:
                os.kill(pids[0], signal.SIGKILL)
            return None

        service.before = kill
        crashed = await run(tmp_path, service.base_url, started=pids.append)
        assert crashed.code == -signal.SIGKILL
        assert all(map(of_data, assert_secret(tmp_path, crashed)))
        assert not (tmp_path / "out/manifest.json").exists()


def test_search_finds_every_form() -> None:
    """The search for secrets finds them in every form in which they may be left."""
    for text in (TOKEN, PERSON):
        for shift in range(3):
            assert found_in(base64.b64encode(b"y" * shift + text.encode() + b"zz"), text)
        for name, form in forms(text).items():
            assert name in found_in(b"before " + form + b" after", text)
    assert found_in(b"nothing of the kind", TOKEN) == []
