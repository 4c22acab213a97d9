"""How much the command says, and in which form its result is."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command import FAST, run

LOCAL = ("statements", "--environment", "local", *FAST)


def test_short_forms_and_one_json_object(tmp_path: Path) -> None:
    """With -q and --json there is one object on standard output and nothing else."""
    done = run("export", *LOCAL, "-o", "out", "-f", "csv", "-q", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert (summary["output"], summary["records"]) == ("out", {"statements": 2_000})
    assert (tmp_path / "out/statements/part-00000.csv").exists()


def test_verbose_shows_decisions(tmp_path: Path) -> None:
    """With -v, decisions are shown as they are made, each line with its level."""
    done = run("export", *LOCAL, "-o", "out", "-v", cwd=tmp_path)
    shown = [line for line in done.stderr.splitlines() if "bulk_export." in line]
    assert shown
    assert all(line.startswith("info: bulk_export.") for line in shown)


def test_quiet_and_verbose(tmp_path: Path) -> None:
    """They exclude each other."""
    assert run("export", *LOCAL, "-q", "-v", cwd=tmp_path).returncode == 2


def test_short_help(tmp_path: Path) -> None:
    """-h is --help, for the program and for each command."""
    assert "Commands:" in run("-h", cwd=tmp_path).stdout
    assert "-o, --output" in run("export", "-h", cwd=tmp_path).stdout
