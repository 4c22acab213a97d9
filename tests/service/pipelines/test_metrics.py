"""Numbers of the last run for monitoring: private, whole, and still there after a run that failed."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import BulkExportError, Interrupted, LocalFailure
from bulk_export.output.metrics_file import Sample, metrics_text, write_failure, write_success
from bulk_export.pipelines.export import export
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.services.local import serving
from tests.support.copy_scene import NAME, scene
from tests.support.exporting import FREE, QUICK, TOKEN, options, settings
from tests.support.watch import Watch


def numbers(path: Path) -> dict[str, float]:
    """The values of a file, each line of which has to be of the format."""
    found = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"bulk_export_(\w+\{\w+=\"[^\"]*\"(?:,\w+=\"[^\"]*\")*\}) (\S+)", line)
            assert match is not None, line
            found[match[1]] = float(match[2])
    return found


async def test_success_then_failure(tmp_path: Path) -> None:
    """A success leaves its numbers, and a failure adds when it was and its exit code."""
    file = tmp_path / "run.prom"
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "one", "statements", metrics=file))
        first = numbers(file)
        assert first['last_records{command="export",endpoint="statements"}'] == 37
        assert first['last_incomplete{command="export"}'] == 0
        assert first['last_exit_code{command="export"}'] == 0
        assert first['last_requests{command="export"}'] > 1
        assert file.stat().st_mode & 0o777 == 0o600
        refused = options(service, tmp_path / "two", "statements", metrics=file, token="another")
        with pytest.raises(BulkExportError):
            await export(refused, tuning=QUICK)
    second = numbers(file)
    assert second['last_exit_code{command="export"}'] == 3
    assert second['last_failure_timestamp_seconds{command="export"}'] > 0
    assert {name: value for name, value in second.items() if "fail" not in name and "exit" not in name} == {
        name: value for name, value in first.items() if "fail" not in name and "exit" not in name
    }
    assert TOKEN not in file.read_text()


async def test_polls(tmp_path: Path) -> None:
    """A poll of a copy leaves its numbers as well."""
    async with scene(tmp_path, people=5) as it:
        chosen = SyncOptions.of(
            (NAME,), base_url=it.url, token=TOKEN, output=it.directory, metrics=tmp_path / "run.prom", **FREE
        )
        await sync_and_load(chosen, report=lambda _: None, loaded=lambda _: None)
    assert numbers(tmp_path / "run.prom")[f'last_records{{command="sync",endpoint="{NAME}"}}'] == 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none/run.prom", "No such file or directory"), ("taken", "it is a directory"), ("file/run.prom", "directory")],
)
async def test_place_that_cannot_be_written(tmp_path: Path, name: str, reason: str) -> None:
    """It is refused before the first request, with nothing left behind."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    lineage = tmp_path / "lineage.jsonl"
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "out", "statements", metrics=tmp_path / name, lineage=lineage)
        with pytest.raises(LocalFailure, match=f"Writing the metrics to .*: .*{reason}") as failure:
            await export(chosen)
        assert not service.log
    assert "--metrics" in str(failure.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]
    assert not any((tmp_path / "taken").iterdir())


async def test_disk_fails_at_the_end(tmp_path: Path) -> None:
    """An export whose metrics cannot be written any more is finished, and a warning names both."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    heard = Watch(at_end=folder.rmdir)
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "out", "statements", metrics=folder / "run.prom")
        summary = await export(chosen, heard)
    assert summary.endpoints[0].records == 37
    (text,) = heard.texts
    assert text.startswith(f"Writing the metrics to {folder / 'run.prom'} failed: No such file")
    assert text.endswith(f"The export in {tmp_path / 'out'} is finished.")


async def test_failure_that_cannot_be_noted(tmp_path: Path) -> None:
    """A run that fails says so, and that its metrics do not."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    heard = Watch(at_request=lambda: folder.exists() and folder.rmdir())
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "out", "statements", metrics=folder / "run.prom", token="another")
        with pytest.raises(BulkExportError):
            await export(chosen, heard, tuning=QUICK)
    assert [text.split(" failed")[0] for text in heard.texts] == [f"Writing the metrics to {folder / 'run.prom'}"]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_interrupted(tmp_path: Path, is_cancelled: bool) -> None:
    """A run that is stopped, or cancelled by the program, notes that with the code of an interruption."""
    file, stop = tmp_path / "run.prom", anyio.Event()
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "out", "participants-npq", metrics=file)
        with anyio.CancelScope() as scope:
            heard = Watch(at_request=scope.cancel if is_cancelled else stop.set)
            if is_cancelled:
                await export(chosen, heard, stop=stop)
            else:
                with pytest.raises(Interrupted):
                    await export(chosen, heard, stop=stop)
    assert numbers(file)['last_exit_code{command="export"}'] == Interrupted.exit_code


async def test_file_in_the_new_output(tmp_path: Path) -> None:
    """The directory of the file may be the one that the run makes."""
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "out", "statements", metrics=tmp_path / "out" / "run.prom"))
    assert numbers(tmp_path / "out" / "run.prom")['last_exit_code{command="export"}'] == 0


async def test_copy_keeps_its_place(tmp_path: Path) -> None:
    """A sync whose metrics cannot be written is refused before the first request, too."""
    async with scene(tmp_path, people=5) as it:
        chosen = SyncOptions.of(
            (NAME,), base_url=it.url, token=TOKEN, output=it.directory, metrics=tmp_path / "no" / "run.prom", **FREE
        )
        with pytest.raises(LocalFailure, match="metrics"):
            await sync_and_load(chosen, report=lambda _: None, loaded=lambda _: None)
        assert not it.directory.exists()


def test_file_of_something_else(tmp_path: Path) -> None:
    """What another program wrote is not taken for numbers of ours."""
    file = tmp_path / "run.prom"
    file.write_text("node_load1 5\n")
    write_failure(file, now=7.0, exit_code=4, command="export")
    assert "node_load1" not in file.read_text()


def test_labels_are_escaped(tmp_path: Path) -> None:
    """Whatever a label holds, a line stays a line."""
    write_success(tmp_path / "run.prom", [Sample("last_records", 1, {"endpoint": 'a"b\\c\nd'})], "export")
    assert 'endpoint="a\\"b\\\\c\\nd"} 1\n' in (tmp_path / "run.prom").read_text()
    assert metrics_text([]) == ""
