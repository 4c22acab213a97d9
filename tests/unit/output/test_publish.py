"""The last step of an export, which can be repeated."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore, PartFile
from bulk_export.output.file_names import MANIFEST, REPORT, RUN_LOG, WORKING_DIRECTORY
from bulk_export.output.manifest import EndpointResult, RunCounters, build_manifest, read_manifest
from bulk_export.output.publish import decide, decided, publish
from bulk_export.output.run_log import TIMELINE, RunLog, Timeline
from bulk_export.output.side_files import REPORT_HEAD
from bulk_export.output.verify import verify
from bulk_export.output.work_directory import WorkDirectory, open_work_directory

PART = "things/part-00000.ndjson"
LINES = b'{"id":"a"}\n' * 3


@pytest.fixture
def work(tmp_path: Path) -> Iterator[WorkDirectory]:
    with open_work_directory(tmp_path / "out", None, ["things"], overwrite=True, keep_pages=False) as work:
        yield work


@pytest.fixture
def store(work: WorkDirectory) -> Iterator[JournalStore]:
    store = work.open_journal(cap=1 << 20)
    yield store
    store.close()


def manifest(drift: dict[str, dict[str, int]] | None = None) -> dict[str, Any]:
    file = PartFile(PART, 3, len(LINES), hashlib.sha256(LINES).hexdigest())
    things = EndpointResult(
        name="things", records=3, pages=1, duplicates=0, requests=1, schema=[], drift=drift or {}, files=[file]
    )
    return build_manifest(
        service="npq",
        api_version="v3",
        base_url="local",
        parameters={},
        started_at="",
        finished_at="",
        endpoints=[things],
        run=RunCounters(1, 0, 0, 0),
    )


def stage(work: WorkDirectory) -> Path:
    """A finished part in the directory of staged parts."""
    part = work.staging / "things" / "revision-0" / "part-00000.ndjson"
    part.parent.mkdir(parents=True, mode=0o700)
    part.touch(0o600)
    part.write_bytes(LINES)
    return part


def test_publish_carries_out_the_decision(work: WorkDirectory, store: JournalStore) -> None:
    """Parts and manifest are in the output, and the working state is gone."""
    decide(store, work, manifest(), {PART: stage(work)}, keep_pages=False)
    assert decided(store) == manifest()
    assert publish(store, work) == []
    assert sorted(entry.name for entry in work.output.iterdir()) == [MANIFEST, "things"]
    assert verify(work.output).rows == 3


def test_interrupted_publication_is_completed(
    work: WorkDirectory, store: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure between the parts and the manifest, the same call completes the export."""
    decide(store, work, manifest(), {PART: stage(work)}, keep_pages=False)
    with monkeypatch.context() as patch:
        patch.setattr("bulk_export.output.publish.write_within", _fail)
        with pytest.raises(RuntimeError):
            publish(store, work)
    assert (work.output / PART).exists()
    assert not (work.output / MANIFEST).exists()
    assert publish(store, work) == []
    assert read_manifest(work.output) == manifest()


def test_missing_part_is_damage(work: WorkDirectory, store: JournalStore) -> None:
    part = stage(work)
    decide(store, work, manifest(), {PART: part}, keep_pages=False)
    part.unlink()
    with pytest.raises(DamagedState, match=r"part-00000\.ndjson, is missing"):
        publish(store, work)


def test_foreign_part_is_not_overwritten(work: WorkDirectory, store: JournalStore) -> None:
    decide(store, work, manifest(), {PART: stage(work)}, keep_pages=False)
    (work.output / "things").mkdir(mode=0o700)
    (work.output / PART).write_text("mine")
    with pytest.raises(DamagedState, match="in the way"):
        publish(store, work)
    assert (work.output / PART).read_text() == "mine"


@pytest.mark.parametrize(
    "path", ["things/other/part-00000.ndjson", "../part-00000.ndjson", "things/revision-0/part-00001.ndjson"]
)
def test_decision_outside_of_staging_is_refused(store: JournalStore, path: str) -> None:
    """The journal is not trusted with more than an export can have written."""
    location = f"{WORKING_DIRECTORY}/parts/{path}"
    store.put_fact("manifest", json.dumps({"manifest": manifest(), "staged": {PART: location}}))
    with pytest.raises(DamagedState):
        decided(store)


def test_steps_and_drift_are_logged(work: WorkDirectory, store: JournalStore, caplog: pytest.LogCaptureFixture) -> None:
    """Steps at INFO, drift at WARNING once for each endpoint; without names or values of records."""
    caplog.set_level(logging.INFO, "bulk_export")
    drift = {"unknown": {"secret": 3}, "misfits": {"a": 1, "b": 1}, "missing": {"c": 1}, "duplicate_keys": {}}
    decide(store, work, manifest(drift), {PART: stage(work)}, keep_pages=False)
    publish(store, work)
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    (warning,) = warnings
    assert warning == (
        "things: records differ from the description: 1 unknown attributes, 2 with values of other types, 0 with"
        " repeated keys; all values are kept"
    )
    steps = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.INFO]
    assert [step.split(" ")[0] for step in steps] == ["moved", "wrote", "removed"]


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("killed")


def test_log_of_the_run_is_beside_the_manifest(work: WorkDirectory, store: JournalStore) -> None:
    """It says of which export it is, is private, and takes the place of the log and the report of the one before."""
    (work.output / RUN_LOG).write_text('{"tool": "bulk-export", "kind": "run", "of": "an earlier export"}\n')
    (work.output / REPORT).write_text(REPORT_HEAD + "of an earlier export")
    store.put_fact(TIMELINE, Timeline(5, starts=(0,)).text())
    decide(store, work, manifest(), {PART: stage(work)}, keep_pages=False)
    publish(store, work)
    log = RunLog.parse((work.output / RUN_LOG).read_text())
    assert (log.timeline.origin, log.belongs_to(manifest())) == (5, True)
    assert (work.output / RUN_LOG).stat().st_mode & 0o777 == 0o600
    assert not (work.output / REPORT).exists()
    assert verify(work.output).rows == 3


@pytest.mark.parametrize("timeline", [None, "no timeline", Timeline(5).text()])
def test_files_of_user_are_not_replaced(work: WorkDirectory, store: JournalStore, timeline: str | None) -> None:
    """What has the name of the log or the report and is not ours stays as it is, and the export is published."""
    (work.output / RUN_LOG).write_text('{"tool": "mine"}\n')
    (work.output / REPORT).symlink_to("elsewhere")
    if timeline is not None:
        store.put_fact(TIMELINE, timeline)
    decide(store, work, manifest(), {PART: stage(work)}, keep_pages=False)
    publish(store, work)
    assert (work.output / RUN_LOG).read_text() == '{"tool": "mine"}\n'
    assert (work.output / REPORT).is_symlink()
    assert read_manifest(work.output) == manifest()
