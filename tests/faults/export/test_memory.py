"""Bodies that are out to fill the memory, met by the command in a process whose peak is measured."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

import anyio
import pytest

from tests.support.raw_server import Connection, Script, raw_server

PEAK = 150 * 1024 * 1024

# A process counts the peak of the one that started it as its own: a small one stands between it and the tests.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def bomb(mebibytes: int) -> bytes:
    """A gzip stream of zeros, made of one compressed piece again and again; its end is missing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * mebibytes


def answering(headers: str, content: bytes, times: int = 1) -> Script:
    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}\r\n".encode())
        for _ in range(times):
            await connection.send(content)
        raise anyio.EndOfStream

    return script


def answering_whole(content: bytes) -> Script:
    return answering(f"Content-Length: {len(content)}\r\n", content)


BOMB = bomb(2_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "attempts"),
    [
        pytest.param(answering(f"Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n", BOMB), 1, id="bomb"),
        pytest.param(
            answering(f"Content-Encoding: gzip, gzip\r\nContent-Length: {len(BOMB)}\r\n", BOMB), 3, id="chained"
        ),
        pytest.param(answering("Content-Length: 10737418240\r\n", b"[" * 1000), 1, id="10 GB announced"),
        pytest.param(answering("", bytes(1 << 20), times=400), 1, id="no end"),
        pytest.param(
            answering("Content-Length: 20000000\r\n", b"[" * 20_000_000), 3, id="deep", marks=pytest.mark.torture
        ),
        pytest.param(
            answering_whole(b'{"data":[' + b"1," * 10_000_000 + b"1]}"),
            3,
            id="millions of numbers",
            marks=pytest.mark.torture,
        ),
        pytest.param(answering_whole(b'{"data":[' + b"{}," * 6_000_000 + b"{}]}"), 3, id="millions of objects"),
    ],
)
async def test_bodies_are_bounded_in_memory(tmp_path: Path, script: Script, attempts: int) -> None:
    """No body takes more memory than its cap allows, or is requested again and again."""
    async with raw_server(script) as server:
        command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "bulk_export"]
        command += ["export", "statements", "--base-url", server.base_url, "--output", "out"]
        command += ["--retries", "2", "--min-interval", "0", "--progress", "none"]
        ended = await anyio.run_process(command, cwd=tmp_path, env=os.environ | {"BULK_EXPORT_TOKEN": "t"}, check=False)
        assert ended.returncode == 4, ended.stderr
        assert b"Page 1 of statements failed" in ended.stderr
        assert int(ended.stdout.split()[-1]) * 1024 < PEAK
        assert len(server.requests) == attempts
