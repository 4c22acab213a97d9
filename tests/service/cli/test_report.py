"""`bulk-export report`: the file for people, its path on standard output, and one object for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.cli import app
from bulk_export.cli import run as run_here
from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.command import FAST, run
from tests.support.exporting import options, settings


def test_report_of_an_export(tmp_path: Path) -> None:
    """Standard output has the path, standard error whether it is whole; --json has both."""
    made = run("export", "statements", "--environment", "local", "-o", "out", "--with-report", *FAST, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "out/report.html").exists()
    shown = run("report", "out", "-o", "it.html", "--verify", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, "it.html\n")
    assert "Whole: its file was read" in shown.stderr
    described = json.loads(run("report", "out", "--json", cwd=tmp_path).stdout)
    assert (described["path"], described["kind"], described["is_whole"]) == ("out/report.html", "export", True)


async def test_report_of_a_damaged_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is written in any case; with --verify the exit code is that of verify, else there is a warning."""
    monkeypatch.chdir(tmp_path)
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "out", "statements"))
    part = tmp_path / "out/statements/part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[50] ^= 1
    part.write_bytes(content)
    assert run_here(app, ["report", "out", "-o", "unread.html"]) == 0
    assert "Whole" in capsys.readouterr().err
    for flags in (["--verify"], ["--verify", "--json"]):
        assert run_here(app, ["report", "out", "-o", "verified.html", *flags]) == 6
        shown = capsys.readouterr()
        assert "part-00000.parquet: other content" in shown.err
        assert "verified.html is written" in shown.err
    assert "other content" in json.loads(shown.out)["difference"]
    assert "Not whole" in (tmp_path / "verified.html").read_text()
    part.write_bytes(content[:100])
    assert run_here(app, ["report", "out", "-o", "short.html"]) == 0
    assert capsys.readouterr().err.startswith("warning: Not whole. ")
    assert run_here(app, ["verify", "out"]) == 6
