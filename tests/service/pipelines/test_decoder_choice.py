"""Runs without the kernel: the same output, and a line that says so; a variable that is wrong stops a run at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_export.core import kernel_library
from bulk_export.core.kernel_library import DECODER_VARIABLE, load_kernel
from bulk_export.errors import UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.stream import stream_batches
from bulk_export.services.local import serving
from tests.support.exporting import options, settings
from tests.support.heard_warnings import HeardWarnings
from tests.support.outputs import file_digests

NAMES = ("npq-applications", "participants-npq")


@pytest.fixture
def without_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in an installation that was built without a compiler."""
    monkeypatch.delenv(DECODER_VARIABLE, raising=False)
    monkeypatch.setattr(kernel_library, "_library_file", lambda: tmp_path / "none")
    monkeypatch.setattr(kernel_library._Warning, "was_given", False)
    load_kernel.cache_clear()
    yield
    monkeypatch.undo()
    load_kernel.cache_clear()


@pytest.mark.usefixtures("without_kernel")
async def test_missing_kernel_is_said_once(tmp_path: Path) -> None:
    """By the first run of a process, through its observer."""
    heard = HeardWarnings()
    async with serving(settings(records_by_endpoint=dict.fromkeys(NAMES, 70))) as service:
        await export(options(service, tmp_path / "first", *NAMES, keep_pages=True), heard)
        await export(options(service, tmp_path / "second", *NAMES), heard)
    await replay(ReplayOptions.of(tmp_path / "first/pages.sqlite", output=tmp_path / "third"), heard)
    (warning,) = heard.warnings
    assert "no compiled decoder" in warning
    names = {f"{name}/part-00000.parquet" for name in NAMES}
    first, second, third = (file_digests(tmp_path / name) for name in ("first", "second", "third"))
    assert {name: first[name] for name in names} == {name: second[name] for name in names}
    assert {name: first[name] for name in names} == {name: third[name] for name in names}


async def test_unknown_decoder_stops_a_run_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written, and a stream does not wait for pages that never come."""
    monkeypatch.setenv(DECODER_VARIABLE, "fast")
    load_kernel.cache_clear()
    async with serving(settings()) as service:
        with pytest.raises(UsageError, match=DECODER_VARIABLE):
            await export(options(service, tmp_path / "out", *NAMES))
        with pytest.raises(UsageError, match=DECODER_VARIABLE):
            await anext(stream_batches(options(service, tmp_path / "out", NAMES[0])))
    assert not (tmp_path / "out").exists()
