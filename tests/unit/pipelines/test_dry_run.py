"""`--dry-run` says what `plan` says, checks the options, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.cli import app
from bulk_export.cli.runner import run
from bulk_export.pipelines.dry_run import plan_of_export, plan_of_sync
from bulk_export.pipelines.plan import plan_costs

ADDRESS = {"base_url": "https://service.invalid"}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BULK_EXPORT_TOKEN", raising=False)


def test_says_what_plan_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same options, the same numbers; no token is needed, and no directory is made."""
    shared = ["statements", "npq-applications", "--base-url", ADDRESS["base_url"], "--page-size", "500", "--share=50%"]
    assert run(app, ["export", *shared, "--output", "out", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert run(app, ["plan", *shared]) == 0
    assert capsys.readouterr().out == shown.out
    assert "nothing was sent" in shown.err
    assert list(tmp_path.iterdir()) == []


def test_says_so_for_a_sync(capsys: pytest.CaptureFixture[str]) -> None:
    """A copy's costs are those of a full sync and of a poll, as JSON too."""
    assert run(app, ["sync", "--environment", "local", "--output", "copy", "--dry-run", "--json", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert run(app, ["plan", "--sync", "--environment", "local", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(shown.out)
    assert shown.err == ""


def test_checks_the_options_of_the_command() -> None:
    """What the command would refuse is refused."""
    for line in (
        ["export", "--dry-run"],
        ["export", "--environment", "local", "--filter", "nothing=1", "--dry-run"],
        ["export", "--environment", "local", "--compression", "lzw", "--dry-run"],
        ["sync", "--environment", "local", "--dry-run"],
    ):
        assert run(app, line) == 2


def test_takes_the_size_from_what_is_there(tmp_path: Path) -> None:
    """A finished export in the output directory says how many records there are."""
    (tmp_path / "manifest.json").write_text(
        json.dumps({"tool": {"name": "bulk-export"}, "endpoints": {"statements": {"records": 1234}}})
    )
    plan = plan_of_export(["statements"], {**ADDRESS, "output": tmp_path, "overwrite": True})
    assert plan.records == {"statements": 1234}


def test_a_sample_is_bounded(tmp_path: Path) -> None:
    """A sample takes the pages that it has and looks for no end."""
    (cost,) = plan_costs(plan_of_export(["statements"], {**ADDRESS, "output": tmp_path, "limit": 4000})).values()
    assert (cost.total, cost.search) == (2, 0)
    assert plan_of_sync(["statements"], {**ADDRESS, "output": tmp_path / "copy"}).unknown == ["statements"]


def test_tenants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a file of tenants, the plan is that of all of them."""
    (tmp_path / "north.token").write_text("north")
    (tmp_path / "north.token").chmod(0o600)
    tenants = tmp_path / "tenants.toml"
    tenants.write_text('[[tenant]]\nname = "north"\ntoken-file = "north.token"\nenvironment = "local"\n')
    assert run(app, ["export", "--tenants", str(tenants), "--output", "out", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["north", "42"]
