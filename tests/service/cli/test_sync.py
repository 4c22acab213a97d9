"""`bulk-export sync` as a user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulk_export
from tests.support.command import FAST, run, run_cold, service, start


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with service(tmp_path_factory.mktemp("service"), "--no-limits", "--records", "120") as url:
        yield url


def test_sync_prints_a_line_for_each_poll(tmp_path: Path, address: str) -> None:
    """It prints a line for each poll and nothing else."""
    command = ["sync", "statements", "delivery-partners", "--base-url", address, "--output", "copy", *FAST]
    first = run(*command, cwd=tmp_path)
    assert (first.returncode, first.stdout) == (
        0,
        "poll 1, full: 6 requests; 240 fetched, 240 inserted, 0 updated, 0 unchanged, 0 removed\n",
    ), first.stderr
    assert "syncing statements, delivery-partners into copy\n" in first.stderr
    second = run(*command, "--progress", "none", cwd=tmp_path)
    assert (second.stdout.split(":")[0], second.stderr) == ("poll 2, changes", "")
    assert second.stdout.endswith(" 0 inserted, 0 updated, 120 unchanged, 0 removed; no changes\n")
    assert len((tmp_path / "copy" / "sync-log.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "copy", "--format", "ndjson"], "--format does not take 'ndjson'"),
        (["--output", "copy", "--removed", "hide"], "--removed does not take 'hide'"),
        (["--output", "copy", "--full-every", "weekly"], "'weekly' is not a time for --full-every"),
        (["--output", "copy", "--every", "0"], "--every must be a second at least"),
        (["--output", "copy", "--vacuum", "1h"], "7 days at least"),
        (["--output", "copy", "--filter", "nothing=1"], "nothing"),
        (["--output", "copy", "--between", "01:00-05:00"], "--timezone is missing"),
        ([], "no directory for the copy"),
    ],
)
def test_wrong_usage_makes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Wrong usage is reported before anything is made."""
    done = run("sync", "statements", "--base-url", "http://127.0.0.1:9", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_is_named(tmp_path: Path, address: str) -> None:
    """Without the extra, the message says what to install."""
    (tmp_path / "deltalake.py").write_text("raise ImportError")
    done = run_cold("sync", "statements", "--base-url", address, "--output", "copy", *FAST, cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'bulk-export[delta]'" in done.stderr


def test_sync_polls_until_a_signal(tmp_path: Path, address: str) -> None:
    """It polls until a signal arrives, and then ends cleanly."""
    command = ["sync", "statements", "--base-url", address, "--output", "copy", "--every", "1s", "--progress", "none"]
    process = start(*command, *FAST, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    lines = [process.stdout.readline().decode() for _ in range(3)]
    assert [line.split(":")[0] for line in lines] == ["poll 1, full", "poll 2, changes", "poll 3, changes"]
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, time.monotonic() - asked < 10) == (130, True)
    assert b"The same command goes on" in said
    log = [json.loads(line) for line in (tmp_path / "copy" / "sync-log.jsonl").read_text().splitlines()]
    assert [entry["poll"] for entry in log] == list(range(1, len(log) + 1))


def test_sync_from_python(tmp_path: Path, address: str) -> None:
    """From Python it is a function with options of the same names."""
    reported: list[bulk_export.SyncSummary] = []
    chosen = {"base_url": address, "token": "canary-token-7f3a", "output": tmp_path / "copy", "budget": "memory://"}
    summary = bulk_export.run_sync("statements", format="parquet", report=reported.append, **chosen)
    assert reported == [summary]
    (poll,) = summary.polls
    assert isinstance(poll, bulk_export.PollSummary)
    assert poll.tables["statements"].counts == bulk_export.Counts(fetched=120, inserted=120)
    with pytest.raises(TypeError, match="updated_since"):
        bulk_export.run_sync("statements", updated_since="2025-01-01", **chosen)
