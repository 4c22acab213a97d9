"""`--tenants` on the command line: one display, one result, the highest exit code; stopped or killed, all go on."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
import pytest

from bulk_export.services.local import LocalService, serving
from tests.support.command import FAST, run, start
from tests.support.exporting import settings
from tests.support.outputs import file_digests

TOKENS = {"a": "canary-of-a-51d2", "b": "canary-of-b-9c04"}
BUDGET = ["--budget", "memory://"]


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    """A service that knows two tenants."""
    async with serving(settings(token=TOKENS["a"], other_tokens=(TOKENS["b"],))) as running:
        yield running


def written(room: Path, url: str, *names: str) -> str:
    """Write the file of some tenants; those that `TOKENS` does not know have a revoked token."""
    tables = []
    for name in names:
        path = room / f"{name}.token"
        path.write_text(TOKENS.get(name, "canary-revoked"))
        path.chmod(0o600)
        tables.append(f'[[tenant]]\nname = "{name}"\ntoken-file = "{name}.token"\nbase-url = "{url}"\n')
    (room / "tenants.toml").write_text("\n".join(tables))
    return "tenants.toml"


async def call(room: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(lambda: run(*arguments, cwd=room))


async def test_export(tmp_path: Path, service: LocalService) -> None:
    """Directories on standard output, lines by tenant and one table on standard error, and no token anywhere."""
    file = written(tmp_path, service.base_url, "a", "gone", "b")
    shared = ["statements", "--tenants", file, *FAST, *BUDGET]
    result = await call(tmp_path, "export", *shared, "--output", "out")
    assert result.returncode == 3
    assert result.stdout.splitlines() == ["out/a", "out/b"]
    lines = result.stderr.splitlines()
    assert any(line.startswith("bulk-export: Tenant gone: ") and "401" in line for line in lines)
    assert any(line.endswith(" a: statements: 1 page in all") for line in lines)
    assert [line.split() for line in lines if line.startswith("gone ")] == [["gone", "failed"]]
    (reason,) = [line for line in lines if line.startswith("why gone failed: ")]
    assert "401" in reason
    assert lines[-1].startswith("2 of 3 tenants finished")
    assert lines[-1].endswith("the same command with --output out goes on with the others")
    assert "canary" not in result.stdout + result.stderr

    written(tmp_path, service.base_url, "b")
    again = await call(tmp_path, "export", *shared, "--output", "again", "--debug")
    assert any(line.startswith("debug: bulk_export.") and ": b: " in line for line in again.stderr.splitlines())
    assert "canary" not in again.stderr

    written(tmp_path, service.base_url, "a", "b", "gone")
    result = await call(tmp_path, "export", *shared, "--output", "out", "--json", "--quiet")
    found = json.loads(result.stdout)
    assert (result.returncode, found["exit_code"]) == (3, 3)
    assert found["tenants"]["a"]["records"] == {"statements": 37}
    assert found["tenants"]["gone"]["exit_code"] == 3
    assert "a: an earlier run had finished it; it was left as it is" in result.stderr


async def test_file_is_checked_before_anything_is_sent(tmp_path: Path, service: LocalService) -> None:
    """A mistake in one entry refuses the whole run, with the name of the tenant."""
    file = written(tmp_path, service.base_url, "a", "b")
    (tmp_path / "b.token").unlink()
    result = await call(tmp_path, "export", "--tenants", file, *FAST, *BUDGET, "--output", "out")
    assert result.returncode == 2
    assert "Tenant b: The token file" in result.stderr
    assert not service.log
    assert not (tmp_path / "out").exists()


async def test_sync_load_and_plan(tmp_path: Path, service: LocalService) -> None:
    """The other commands take the same file."""
    file = written(tmp_path, service.base_url, "a", "b")
    to = f"sqlite:///{tmp_path}/{{tenant}}.sqlite"
    copies = ["--output", "copies", "--format", "parquet", "--load", to]
    result = await call(tmp_path, "sync", "statements", "--tenants", file, *FAST, *BUDGET, *copies)
    assert result.returncode == 0, result.stderr
    polls = [line for line in result.stdout.splitlines() if ": poll 1, full" in line]
    assert sorted(line.partition(":")[0] for line in polls) == ["a", "b"]
    assert (tmp_path / "a.sqlite").exists()
    loading = ["load", "copies", "--tenants", file, "--to", f"sqlite:///{tmp_path}/all.sqlite"]
    assert (await call(tmp_path, *loading)).returncode == 2
    result = await call(tmp_path, *loading, "--table-prefix", "{tenant}_", "--json")
    assert set(json.loads(result.stdout)["tenants"]) == {"a", "b"}, result.stderr
    result = await call(tmp_path, "plan", "statements", "--tenants", file, "--records", "3000")
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:4]] == [["a", "11"], ["b", "11"], ["total", "22"]]
    assert (await call(tmp_path, "plan", "statements", "--tenants", file, "--json")).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_stopped_run_goes_on_with_all(tmp_path: Path, service: LocalService, number: signal.Signals) -> None:
    """Stopped while the first waits for its limit: the same command ends with the bytes of an undisturbed run."""
    file = written(tmp_path, service.base_url, "a", "b")
    wanted = ["export", "npq-applications", "--tenants", file, "--min-interval", "0", *BUDGET, "--progress", "none"]
    slow = ["--service-limit", "3/20m", "--ip-limit", "5/20m"]

    def stop() -> tuple[int, str]:
        process = start(*wanted, *slow, "--output", "out", cwd=tmp_path, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        # Three requests of the first, and two that the address has left for the second.
        while len(service.log) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        return process.returncode, said.decode()

    code, said = await anyio.to_thread.run_sync(stop)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL), said
    assert len(service.log) == 5
    if number == signal.SIGINT:
        assert "goes on with all tenants" in said
        assert "goes on with the others" not in said
        assert "Tenant a" not in said
    fast = ["--service-limit", "100000/1s", "--ip-limit", "100000/1s"]
    assert (await call(tmp_path, *wanted, *fast, "--output", "out")).returncode == 0
    assert (await call(tmp_path, *wanted, *fast, "--output", "undisturbed")).returncode == 0
    assert file_digests(tmp_path / "out") == file_digests(tmp_path / "undisturbed")
