"""What was spent is remembered between runs and shared by processes: the service never refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import environment, run, service

LIMITS = ["--service-limit", "30/2s", "--ip-limit", "30/2s", "--min-interval", "0"]


def export(url: str, output: str, *more: str) -> list[str]:
    wanted = ["export", "npq-applications", "--base-url", url, "--output", output, "--page-size", "60"]
    return [*wanted, "--budget", "sqlite:///budget.sqlite", "--progress", "plain", *LIMITS, *more]


@pytest.mark.slow
def test_what_is_spent_is_shown_without_the_token(tmp_path: Path) -> None:
    with service(tmp_path, "--records", "60", "--no-limits") as url:
        wanted = export(url, "here", "--service-limit", "1000/5m", "--ip-limit", "300/5m")
        assert run(*wanted, cwd=tmp_path).returncode == 0
    place = ["--budget", "sqlite:///budget.sqlite"]
    shown = run("budget", *place, "--json", cwd=tmp_path).stdout
    common, address = json.loads(shown)
    assert (common["service"], common["used"], address["used"]) == (url, 3, 3)
    first, last = common["free_in"]
    assert 280 < first <= last <= 300
    assert len(shown.splitlines()) == 4  # a line for each limit
    table = run("budget", *place, cwd=tmp_path).stdout
    assert "3 of 1,000 in 5 min 00 s" in table
    assert "3 of 300 in 5 min 00 s" in table
    assert environment()["BULK_EXPORT_TOKEN"] not in table
    empty = run("budget", "--budget", "memory://", cwd=tmp_path)
    assert (empty.returncode, empty.stdout) == (0, "nothing is on record as spent\n")


def test_foreign_budget_file_is_left_alone(tmp_path: Path) -> None:
    """A file that is not a budget file is a local failure, and stays as it is."""
    (tmp_path / "budget.sqlite").write_text("mine")
    failed = run(*export("http://127.0.0.1:1", "here"), cwd=tmp_path)
    assert failed.returncode == 5
    assert "budget.sqlite" in failed.stderr
    assert (tmp_path / "budget.sqlite").read_text() == "mine"
