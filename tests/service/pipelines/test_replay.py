"""Other outputs from kept pages, without a request."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.errors import DamagedState, Interrupted, UsageError
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.services.local import serving
from tests.support.exporting import options, settings
from tests.support.outputs import file_digests

COUNTS = {"npq-applications": 700, "participants-npq": 90, "statements": 0}
NAMES = tuple(COUNTS)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of exports of the same data: one that kept its pages, and others to compare with."""
    root = tmp_path_factory.mktemp("kept")

    async def run() -> None:
        async with serving(settings(records_by_endpoint=COUNTS)) as service:
            for name, changes in OUTPUTS.items():
                await export(options(service, root / name, *NAMES, page_size=60, **changes))
            await export(options(service, root / "pages", *NAMES, page_size=60, keep_pages=True))

    anyio.run(run)
    return root


OUTPUTS: dict[str, dict[str, Any]] = {
    "parquet": {},
    "both": {"format": ("parquet", "ndjson")},
    "flat": {"format": "ndjson", "flatten": True, "compression": "zstd"},
    "csv": {"format": ("csv", "parquet"), "compression": "zstd", "csv_bom": True, "csv_safe": True},
    "dropped": {"format": ("ndjson", "parquet"), "drop_column": ["full_name", "npq_enrolments.email"]},
}


@pytest.mark.parametrize("name", OUTPUTS)
async def test_replay_equals_export(kept: Path, tmp_path: Path, name: str) -> None:
    """A replay gives the bytes that an export would have given."""
    summary = await replay(ReplayOptions.of(kept / "pages/pages.sqlite", output=tmp_path / "out", **OUTPUTS[name]))
    assert file_digests(tmp_path / "out") == file_digests(kept / name)
    assert summary.requests == 0
    assert {one.name: one.records for one in summary.endpoints} == COUNTS
    verify(tmp_path / "out")


async def test_the_manifest_says_where_the_pages_came_from(kept: Path, tmp_path: Path) -> None:
    await replay(ReplayOptions.of(kept / "pages/pages.sqlite", "statements", output=tmp_path / "out"))
    origin, stated = (json.loads((path / "manifest.json").read_bytes()) for path in (kept / "pages", tmp_path / "out"))
    assert origin["archive"] == "pages.sqlite"
    assert stated["replayed"]["started_at"] == origin["started_at"]
    assert stated["base_url"] == origin["base_url"]
    assert list(stated["endpoints"]) == ["statements"]
    assert "archive" not in stated


async def test_keeping_pages_changes_nothing_else(kept: Path) -> None:
    """An export that keeps its pages is otherwise the same."""
    pages = kept / "pages/pages.sqlite"
    assert stat.S_IMODE(pages.stat().st_mode) == 0o600
    without = {name: digest for name, digest in file_digests(kept / "pages").items() if name != "pages.sqlite"}
    assert without == file_digests(kept / "parquet")
    verify(kept / "pages")


async def test_replay_settles_duplicates_alike(tmp_path: Path) -> None:
    """Duplicates are settled in a replay as they were in the export."""
    async with serving(settings(records_by_endpoint={"statements": 400}, seed=2)) as service:
        await export(options(service, tmp_path / "kept", "statements", page_size=10, format="ndjson", keep_pages=True))
    stated = json.loads((tmp_path / "kept/manifest.json").read_bytes())["endpoints"]["statements"]
    assert stated["recovered"] > 0
    await replay(ReplayOptions.of(tmp_path / "kept/pages.sqlite", output=tmp_path / "out", format="ndjson"))
    replayed = file_digests(tmp_path / "out")
    assert replayed == {name: digest for name, digest in file_digests(tmp_path / "kept").items() if name in replayed}
    again = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"]["statements"]
    assert {**stated, "requests": 0} == again


async def test_redacted_pages_stay_redacted(tmp_path: Path) -> None:
    """Fields that were redacted before the pages were kept do not come back."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(b"k" * 20)
    rules: dict[str, Any] = {"drop_column": ["full_name"], "pseudonymise": ["email"], "pseudonym_key_file": key}
    async with serving(settings(records_by_endpoint={"npq-applications": 50})) as service:
        await export(options(service, tmp_path / "kept", "npq-applications", keep_pages=True, **rules))
        await export(
            options(service, tmp_path / "more", "npq-applications", **rules | {"drop_column": ["full_name", "status"]})
        )
    archive = tmp_path / "kept/pages.sqlite"
    await replay(ReplayOptions.of(archive, output=tmp_path / "same"))
    pages = {"pages.sqlite"}
    assert file_digests(tmp_path / "same").items() == {
        (name, digest) for name, digest in file_digests(tmp_path / "kept").items() if name not in pages
    }
    await replay(ReplayOptions.of(archive, output=tmp_path / "less", drop_column=["full_name", "status"]))
    assert file_digests(tmp_path / "less") == file_digests(tmp_path / "more")
    with pytest.raises(UsageError, match="pseudonyms in place of email already"):
        ReplayOptions.of(archive, pseudonymise="email", pseudonym_key_file=key)


async def test_an_interrupted_replay_goes_on(kept: Path, tmp_path: Path) -> None:
    stop = anyio.Event()
    stop.set()
    chosen = ReplayOptions.of(kept / "pages/pages.sqlite", output=tmp_path / "out")
    with pytest.raises(Interrupted):
        await replay(chosen, stop=stop)
    assert not (tmp_path / "out/manifest.json").exists()
    other = ReplayOptions.of(kept / "pages/pages.sqlite", output=tmp_path / "out", format="ndjson")
    with pytest.raises(UsageError, match="begun in another way: --format parquet"):
        await replay(other)
    await replay(chosen)
    assert file_digests(tmp_path / "out") == file_digests(kept / "parquet")
    with pytest.raises(UsageError, match="finished export"):
        await replay(chosen)


async def test_replay_replaces_export_and_pages(kept: Path, tmp_path: Path) -> None:
    """A replay without --keep-pages replaces an export and its pages."""
    async with serving(settings(records_by_endpoint={"statements": 3})) as service:
        await export(options(service, tmp_path / "out", "statements", keep_pages=True))
        assert (tmp_path / "out/pages.sqlite").exists()
        await export(options(service, tmp_path / "out", "statements", overwrite=True))
    assert not (tmp_path / "out/pages.sqlite").exists()
    verify(tmp_path / "out")


async def test_damaged_archive_is_refused(kept: Path, tmp_path: Path) -> None:
    """An archive that lost or changed a page is refused."""
    third = "WHERE endpoint = 'npq-applications' AND page = 3"
    for change, said in (
        (f"DELETE FROM pages {third}", "does not hold all pages"),
        (f"UPDATE pages SET body = zeroblob(9) {third}", "not as it was stored"),
    ):
        damaged = tmp_path / "damaged.sqlite"
        damaged.write_bytes((kept / "pages/pages.sqlite").read_bytes())
        with sqlite3.connect(damaged) as connection:
            connection.execute(change)
        connection.close()
        output = tmp_path / str(len(said))
        with pytest.raises(DamagedState, match=said):
            await replay(ReplayOptions.of(damaged, output=output))
        assert not (output / "manifest.json").exists()
        assert not list(output.rglob("*.partial"))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("pages.sqlite", {"endpoints": "delivery-partners"}),
        ("pages.sqlite", {"service": "none"}),
        ("manifest.json", {}),
    ],
)
def test_impossible_replay_is_refused(kept: Path, file: str, changes: dict[str, str]) -> None:
    """Options that need what the archive does not have are refused."""
    with pytest.raises((UsageError, DamagedState)) as refused:
        ReplayOptions.of(kept / "pages" / file, **changes)  # type: ignore[arg-type]  # texts only
    assert refused.value.next_step


def test_directory_stands_for_its_pages(kept: Path) -> None:
    """The directory of an export stands for its pages."""
    named = ReplayOptions.of(kept / "pages/pages.sqlite", output="there")
    assert ReplayOptions.of(kept / "pages", output="there") == named


@pytest.mark.parametrize("missing", ["nothing", "empty"])
def test_export_without_pages_is_wrong_usage(tmp_path: Path, missing: str) -> None:
    """A replay of an export that kept no pages is wrong usage."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is not there|holds no kept pages") as refused:
        ReplayOptions.of(tmp_path / missing)
    assert "--keep-pages" in refused.value.next_step


def test_replay_never_replaces_its_source(kept: Path) -> None:
    """A replay never replaces the pages that it is made from."""
    for archive in (kept / "pages", kept / "pages/pages.sqlite"):
        with pytest.raises(UsageError, match="kept pages"):
            ReplayOptions.of(archive, output=kept / "pages", overwrite=True)


def test_foreign_archive_is_refused(kept: Path) -> None:
    """A file that is not an archive is refused, with advice about archives."""
    with pytest.raises(DamagedState, match=r"The archive .* cannot be trusted") as refused:
        ReplayOptions.of(kept / "pages/manifest.json")
    assert "--output" not in refused.value.next_step


async def test_leftovers_of_replay_are_removed(kept: Path, tmp_path: Path) -> None:
    """What a crash left beside a finished replay is removed when it is run again."""
    again = ReplayOptions.of(kept / "pages/pages.sqlite", "statements", output=tmp_path / "out")
    await replay(again)
    content = file_digests(tmp_path / "out")
    (tmp_path / "out/.bulk-export").mkdir()
    with pytest.raises(UsageError, match="holds a finished export"):
        await replay(again)
    assert file_digests(tmp_path / "out") == content
