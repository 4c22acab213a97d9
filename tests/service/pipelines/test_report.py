"""Reports of real exports and copies: written at the end or later, never over other files, and never a failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import bulk_export
from bulk_export.cli import app
from bulk_export.cli import run as run_here
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.progress.observer import Observer
from bulk_export.services.local import serving
from tests.support.copy_scene import HOUR, NAME, PARTNERS, person, scene
from tests.support.exporting import FREE, TOKEN, options, settings
from tests.support.html_page import read_page


class Heard(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)


async def test_export_with_report(tmp_path: Path) -> None:
    """It is private, whole, beside the manifest without being a part of the export, and shows no value of a record."""
    output = tmp_path / "out"
    async with serving(settings()) as service:
        chosen = options(service, output, "npq-applications", "statements", with_report=True, page_size=500)
        await export(chosen)
        names = {str(record["attributes"]["full_name"]) for record in service.truth("npq-applications")}
    file = output / "report.html"
    page = read_page(text := file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert "Whole: each of its 2 files" in page.whole_text
    assert "2,382 records in 2 lists" in page.whole_text
    assert "Use of the limit of the service" in page.whole_text
    assert "ineligible_for_funding_reason" in page.whole_text
    assert not any(name in page.whole_text for name in names if len(name) > 6)
    assert TOKEN not in text
    assert verify(output).rows == 2_382
    assert sorted(path.name for path in output.iterdir()) == [
        "manifest.json",
        "npq-applications",
        "report.html",
        "run.jsonl",
        "statements",
    ]

    # Another look later takes the place of the first one.
    summary = bulk_export.report(output, verify=True)
    assert (summary.path, summary.kind, summary.is_whole) == (file, "export", True)
    assert "was read and is as the manifest says" in summary.verdict
    assert "Values" not in [heading.whole_text for heading in page.all("h2")]
    bulk_export.report(output, values=True)
    counted = read_page(file.read_text())
    assert "Values" in [heading.whole_text for heading in counted.all("h2")]
    assert not any(name in counted.whole_text for name in names if len(name) > 6)
    assert file.stat().st_size < 200_000
    assert summary.bytes < 200_000


async def test_report_of_an_export_that_is_not_whole(tmp_path: Path) -> None:
    """A part that is missing is the first thing that the report says."""
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "out", "statements"))
    (tmp_path / "out/statements/part-00000.parquet").unlink()
    summary = bulk_export.report(tmp_path / "out", output=tmp_path / "elsewhere.html")
    assert not summary.is_whole
    assert summary.verdict.startswith("Not whole. ")
    assert "statements/part-00000.parquet: missing" in (tmp_path / "elsewhere.html").read_text()
    assert not (tmp_path / "out/report.html").exists()


async def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    """What is no report stays, whether it was named or has the usual name; then the export is finished all the same."""
    output = tmp_path / "out"
    output.mkdir()
    async with serving(settings()) as service:
        await export(options(service, output, "statements"))
        (output / "report.html").write_text("<p>mine</p>")
        with pytest.raises(UsageError, match="is there, and is no report"):
            bulk_export.report(output)
        (tmp_path / "link.html").symlink_to(output / "manifest.json")
        with pytest.raises(UsageError, match="is no report"):
            bulk_export.report(output, output=tmp_path / "link.html")
        with pytest.raises(UsageError, match=r"\. is there, and is no report"):
            bulk_export.report(output, output=".")
        heard = Heard()
        await export(options(service, output, "statements", overwrite=True, with_report=True), heard)
    assert [text for text in heard.warnings if "report" in text] == [
        f"the report was not written: {output / 'report.html'} is there, and is no report."
    ]
    assert (output / "report.html").read_text() == "<p>mine</p>"
    assert verify(output).rows == 37


async def test_log_of_another_export_is_not_shown(tmp_path: Path) -> None:
    """A log that was copied from elsewhere, or is damaged, is no log of this export."""
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "one", "statements"))
    log = tmp_path / "one/run.jsonl"
    for text in (log.read_text().replace('"finished_at": "2', '"finished_at": "3'), "", "x" * 2_000_000):
        log.write_text(text)
        bulk_export.report(tmp_path / "one")
        assert "no run.jsonl of it" in (tmp_path / "one/report.html").read_text()


def test_what_is_no_export(tmp_path: Path) -> None:
    """A missing directory, an address, an empty and a damaged directory are refused in words."""
    with pytest.raises(UsageError, match="none does not exist"):
        bulk_export.report(tmp_path / "none")
    with pytest.raises(UsageError, match="is an address"):
        bulk_export.report("s3://bucket/export")
    with pytest.raises(UsageError, match="holds no finished export"):
        bulk_export.report(tmp_path)
    for damage in ('{"endpoints": {"a": 1}}', '{"endpoints": {}, "run": {"requests": 1}}'):
        (tmp_path / "manifest.json").write_text('{"tool": {"name": "bulk-export"}, ' + damage[1:])
        with pytest.raises(DamagedState, match="cannot be used"):
            bulk_export.report(tmp_path)
    with pytest.raises(TypeError, match=r"(?i)did you mean 'output'"):
        bulk_export.report(tmp_path, outptu="x")  # type: ignore[call-arg]


async def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """The message says which, and the export is as it was."""
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "out", "statements"))
    with pytest.raises(LocalFailure, match=r"Writing .*it\.html failed: No such file"):
        bulk_export.report(tmp_path / "out", output=tmp_path / "none" / "it.html")
    assert not (tmp_path / "out/report.html").exists()


def test_not_for_what_is_in_an_object_store_alone(tmp_path: Path) -> None:
    """There is no directory for it."""
    given = {"base_url": "http://127.0.0.1:9", "token": TOKEN, "with_report": True, **FREE}
    with pytest.raises(UsageError, match="--with-report writes into a directory"):
        ExportOptions.of((), output="s3://bucket/x", work_dir=tmp_path, **given)
    with pytest.raises(UsageError, match="--with-report writes into a directory"):
        SyncOptions.of((NAME,), output="s3://bucket/x", **given)


async def test_copy_with_report(tmp_path: Path) -> None:
    """It is renewed by each poll: how many rows there are, and what each poll changed."""
    async with scene(tmp_path, people=5, partners=2) as it:
        await it.sync(NAME, PARTNERS, with_report=True)
        first = read_page((it.directory / "report.html").read_text()).whole_text
        assert "7 rows in 2 tables" in first
        # A crash left this while the report was being written.
        (it.directory / ".bulk-export").mkdir(mode=0o700)
        begun = it.directory / f".bulk-export/.report.html.{'a' * 16}"
        begun.write_text("half a repo")
        begun.chmod(0o600)
        it.now += HOUR
        it.records[NAME].append(person(9, updated_at="2025-06-02T13:00:00Z"))
        summary = await it.sync(NAME, PARTNERS, with_report=True)
        assert list(summary.remarks) == []
        page = read_page((it.directory / "report.html").read_text())
        assert "8 rows in 2 tables" in page.whole_text
        (polls,) = [table for table in page.all("table") if "The last polls" in table.whole_text]
        rows = [[cell.whole_text for cell in row.children] for row in polls.all("tr")[1:]]
        assert [row[:2] + row[4:5] for row in rows] == [["2", "changes", "1"], ["1", "full", "7"]]
        assert "full_name" in page.whole_text
        assert "Person" not in page.whole_text
        assert not (it.directory / ".bulk-export").exists()
        assert bulk_export.report(it.directory, output=tmp_path / "later.html").kind == "copy"


async def test_copy_whose_report_cannot_be_written(tmp_path: Path) -> None:
    """The poll succeeds, and says so."""
    async with scene(tmp_path, people=3) as it:
        it.directory.mkdir()
        (it.directory / "report.html").mkdir()
        (it.directory / ".bulk-export").mkdir(mode=0o700)
        summary = await it.sync(format="parquet", with_report=True)
    assert summary.polls[0].total("inserted") == 3
    assert [remark for remark in summary.remarks if "report" in remark] == [
        f"the report was not written: {it.directory / 'report.html'} is there, and is no report."
    ]


def cut_file(table: Path) -> None:
    file = next(table.glob("*.parquet"))
    file.write_bytes(file.read_bytes() + b"x")


def lost_file(table: Path) -> None:
    next(table.glob("*.parquet")).unlink()


def lost_log(table: Path) -> None:
    for commit in (table / "_delta_log").glob("*.json"):
        commit.unlink()


@pytest.mark.parametrize(
    ("damage", "format_", "words"),
    [
        (lost_log, "delta", "the log of its table is gone or damaged"),
        (lost_file, "delta", "1 data file missing or damaged"),
        (cut_file, "delta", "1 data file missing or damaged"),
        (shutil.rmtree, "delta", "its table is gone"),
        (lost_file, "parquet", "its table is gone"),
    ],
)
async def test_damaged_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], format_: str, words: str
) -> None:
    """A copy with a damaged table is not called current: a warning, and with --verify the exit code of `verify`."""
    async with scene(tmp_path, people=3, partners=2) as it:
        await it.sync(NAME, PARTNERS, format=format_)
    file = tmp_path / "it.html"
    whole = bulk_export.report(it.directory, output=file)
    assert (whole.is_whole, whole.difference) == (True, "")
    damage(it.directory / NAME)
    summary = bulk_export.report(it.directory, output=file)
    assert (summary.is_whole, summary.difference) == (False, f"{NAME}: {words}.")
    assert f"Not whole. {NAME}: {words}." in (shown := read_page(file.read_text()).whole_text)
    assert "Current" not in shown
    assert "2 rows in 2 tables" in shown
    assert run_here(app, ["report", str(it.directory), "-o", str(file)]) == 0
    assert f"warning: Not whole. {NAME}: {words}. The next sync" in capsys.readouterr().err
    assert run_here(app, ["report", str(it.directory), "-o", str(file), "--verify"]) == 6
    assert f"{NAME}: {words}." in capsys.readouterr().err
