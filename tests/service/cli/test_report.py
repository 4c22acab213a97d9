"""`bulk-export report`: the file for people, its path on standard output, and one object for programs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command import FAST, run


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
