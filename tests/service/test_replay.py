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
from tests.service.test_export import content_of
from tests.support.exporting import options, settings

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
    "dropped": {"format": ("ndjson", "parquet"), "drop_column": ["full_name", "npq_enrolments.email"]},
}


@pytest.mark.parametrize("name", OUTPUTS)
async def test_a_replay_gives_the_bytes_that_an_export_would_have_given(kept: Path, tmp_path: Path, name: str) -> None:
    summary = await replay(ReplayOptions.of(kept / "pages/pages.sqlite", output=tmp_path / "out", **OUTPUTS[name]))
    assert content_of(tmp_path / "out") == content_of(kept / name)
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


async def test_an_export_that_keeps_its_pages_is_otherwise_the_same(kept: Path) -> None:
    pages = kept / "pages/pages.sqlite"
    assert stat.S_IMODE(pages.stat().st_mode) == 0o600
    without = {name: digest for name, digest in content_of(kept / "pages").items() if name != "pages.sqlite"}
    assert without == content_of(kept / "parquet")
    verify(kept / "pages")


async def test_duplicates_are_settled_in_a_replay_as_they_were(tmp_path: Path) -> None:
    async with serving(settings(records_by_endpoint={"statements": 400}, seed=2)) as service:
        await export(options(service, tmp_path / "kept", "statements", page_size=10, format="ndjson", keep_pages=True))
    stated = json.loads((tmp_path / "kept/manifest.json").read_bytes())["endpoints"]["statements"]
    assert stated["recovered"] > 0
    await replay(ReplayOptions.of(tmp_path / "kept/pages.sqlite", output=tmp_path / "out", format="ndjson"))
    replayed = content_of(tmp_path / "out")
    assert replayed == {name: digest for name, digest in content_of(tmp_path / "kept").items() if name in replayed}
    again = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"]["statements"]
    assert {**stated, "requests": 0} == again


async def test_what_was_taken_out_before_the_pages_were_kept_stays_out(tmp_path: Path) -> None:
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
    assert content_of(tmp_path / "same").items() == {
        (name, digest) for name, digest in content_of(tmp_path / "kept").items() if name not in pages
    }
    await replay(ReplayOptions.of(archive, output=tmp_path / "less", drop_column=["full_name", "status"]))
    assert content_of(tmp_path / "less") == content_of(tmp_path / "more")
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
    with pytest.raises(UsageError, match="formats was"):
        await replay(other)
    await replay(chosen)
    assert content_of(tmp_path / "out") == content_of(kept / "parquet")
    with pytest.raises(UsageError, match="finished export"):
        await replay(chosen)


async def test_a_replay_without_keeping_pages_replaces_an_export_and_its_pages(kept: Path, tmp_path: Path) -> None:
    async with serving(settings(records_by_endpoint={"statements": 3})) as service:
        await export(options(service, tmp_path / "out", "statements", keep_pages=True))
        assert (tmp_path / "out/pages.sqlite").exists()
        await export(options(service, tmp_path / "out", "statements", overwrite=True))
    assert not (tmp_path / "out/pages.sqlite").exists()
    verify(tmp_path / "out")


async def test_an_archive_that_lost_or_changed_a_page_is_refused(kept: Path, tmp_path: Path) -> None:
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
def test_what_an_archive_cannot_give_is_refused(kept: Path, file: str, changes: dict[str, str]) -> None:
    with pytest.raises((UsageError, DamagedState)) as refused:
        ReplayOptions.of(kept / "pages" / file, **changes)  # type: ignore[arg-type]  # texts only
    assert refused.value.next_step


def test_the_directory_of_an_export_stands_for_its_pages(kept: Path) -> None:
    named = ReplayOptions.of(kept / "pages/pages.sqlite", output="there")
    assert ReplayOptions.of(kept / "pages", output="there") == named


@pytest.mark.parametrize("missing", ["nothing", "empty"])
def test_where_no_pages_were_kept_is_wrong_usage(tmp_path: Path, missing: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"is not there|holds no kept pages") as refused:
        ReplayOptions.of(tmp_path / missing)
    assert "--keep-pages" in refused.value.next_step


def test_a_replay_never_replaces_the_pages_it_is_made_from(kept: Path) -> None:
    for archive in (kept / "pages", kept / "pages/pages.sqlite"):
        with pytest.raises(UsageError, match="kept pages"):
            ReplayOptions.of(archive, output=kept / "pages", overwrite=True)


def test_a_file_that_is_no_archive_is_refused_with_advice_for_archives(kept: Path) -> None:
    with pytest.raises(DamagedState, match=r"The archive .* cannot be trusted") as refused:
        ReplayOptions.of(kept / "pages/manifest.json")
    assert "--output" not in refused.value.next_step


async def test_what_a_crash_left_beside_a_finished_replay_goes_when_it_is_run_again(kept: Path, tmp_path: Path) -> None:
    again = ReplayOptions.of(kept / "pages/pages.sqlite", "statements", output=tmp_path / "out")
    await replay(again)
    content = content_of(tmp_path / "out")
    (tmp_path / "out/.bulk-export").mkdir()
    with pytest.raises(UsageError, match="holds a finished export"):
        await replay(again)
    assert content_of(tmp_path / "out") == content
