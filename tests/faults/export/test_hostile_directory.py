"""Whatever lies in the output, nothing outside of it is written, moved or deleted, and nothing of others inside."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.errors import BulkExportError, DamagedState, LocalFailure
from bulk_export.extract.journal import JournalStore
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import Observer
from tests.support.attacks import device, link, link_to_home, open_to_all, pipe, second_name, snapshot, somebody_elses
from tests.support.disturbed_run import TUNING, small_options
from tests.support.heard_warnings import HeardWarnings
from tests.support.killed_exports import FOLDER, STATE, serving_decided, serving_unfinished
from tests.support.small_service import content_of

DIRECTORIES = (STATE, f"{STATE}/parts", f"{STATE}/parts/delivery-partners", FOLDER)
DATABASE = tuple(f"{STATE}/journal.sqlite{suffix}" for suffix in ("", "-wal", "-shm", "-journal"))
JOURNAL = (*DATABASE, f"{STATE}/journal.pages")
FILES = (*JOURNAL, f"{STATE}/pages.sqlite.partial", f"{FOLDER}/part-00000.parquet", f"{FOLDER}/part-00009.csv.partial")
ATTACKS: list[tuple[str, Callable[[Path, Path], None]]] = [
    *((place, attack) for place in (*DIRECTORIES, *FILES) for attack in (link, pipe, somebody_elses, open_to_all)),
    *((place, link_to_home) for place in DIRECTORIES),
    *((place, second_name) for place in JOURNAL),
    (f"{STATE}/journal.sqlite", device),
    (f"{STATE}/journal.pages", device),
    (f"{STATE}/parts", device),
    ("delivery-partners", link_to_home),
    ("delivery-partners", pipe),
    ("manifest.json", link),
    ("manifest.json", pipe),
    ("pages.sqlite", link),
]


@pytest.fixture
def outside(room: Path) -> Path:
    """A home directory with files that look like ours, and others."""
    home = room / "home"
    for name in ("revision-0", "revision-7", "parts", "statements"):
        (home / name).mkdir(parents=True)
        (home / name / "part-00000.parquet").write_text("mine")
    (home / "letter.txt").write_text("mine")
    return home


async def test_attack_on_state_is_refused(room: Path, outside: Path) -> None:
    """What replaced a part of the working state is refused by name before a request.

    Links, pipes, devices, hard links, files of other users and files open to others, at every level.
    """
    async with serving_unfinished(room) as service:
        for number, (place, attack) in enumerate(ATTACKS):
            output, home = room / f"out-{number}", room / f"home-{number}"
            shutil.copytree(room / "unfinished", output)
            shutil.copytree(outside, home)
            attack(output / place, home)
            before = snapshot(home)
            with anyio.fail_after(10), pytest.raises(BulkExportError) as refused:
                await export(small_options(service.base_url, output), tuning=TUNING)
            assert refused.value.exit_code in (2, 5), (place, attack)
            assert place.rpartition("/")[2] in refused.value.what, (place, attack, refused.value.what)
            assert "Nothing was" in refused.value.kept
            assert snapshot(home) == before, (place, attack)
            shutil.rmtree(output)
            shutil.rmtree(home)
        assert service.requests == []


async def test_attack_on_finished_export_is_refused(room: Path, outside: Path) -> None:
    """What replaced a part of a finished export is not overwritten."""
    attacks = [
        *(
            (name, attack)
            for name in ("manifest.json", "pages.sqlite")
            for attack in (link, link_to_home, pipe, device)
        ),
        *(("delivery-partners", attack) for attack in (link, link_to_home, pipe)),
        *(("delivery-partners/part-00000.parquet", attack) for attack in (link, link_to_home, pipe)),
    ]
    async with serving_unfinished(room) as service:
        for number, (place, attack) in enumerate(attacks):
            output, home = room / f"out-{number}", room / f"home-{number}"
            shutil.copytree(room / "finished", output)
            shutil.copytree(outside, home)
            attack(output / place, home)
            before = snapshot(home), snapshot(output)
            with anyio.fail_after(10), pytest.raises(BulkExportError) as refused:
                await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
            assert refused.value.exit_code in (2, 5), (place, attack)
            assert place.rpartition("/")[2] in refused.value.what, (place, attack, refused.value.what)
            assert (snapshot(home), snapshot(output)) == before, (place, attack)
        assert service.requests == []


async def test_second_name_of_part_is_kept(room: Path, outside: Path) -> None:
    """A finished part that has a second name still shows the same content under it after a replacement."""
    async with serving_unfinished(room) as service:
        output = room / "finished"
        for name in ("manifest.json", "pages.sqlite", "delivery-partners/part-00000.parquet"):
            os.link(output / name, outside / name.rpartition("/")[2])
        before = snapshot(outside)
        await export(small_options(service.base_url, output, overwrite=True, format="ndjson"), tuning=TUNING)
        assert snapshot(outside) == before


async def test_files_of_user_in_state_stay(room: Path) -> None:
    """Files of the user in the working state stay, and a warning names them."""
    mine = [
        f"{STATE}/notes.txt",
        f"{STATE}/parts/mine/letter.doc",
        f"{STATE}/parts/delivery-partners/sketch.png",
        f"{FOLDER}/thesis.doc",
        f"{FOLDER}/part-00000.parquet.bak",
        f"{STATE}/full/0/elsewhere/notes.txt",
    ]
    async with serving_unfinished(room) as service:
        output, heard = room / "unfinished", HeardWarnings()
        for name in mine:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_text("mine")
        (output / STATE / "shortcut").symlink_to(room / "finished")
        await export(small_options(service.base_url, output), heard, tuning=TUNING)
        left = sorted(str(path.relative_to(output)) for path in (output / STATE).rglob("*") if path.is_file())
        assert left == sorted(mine)
        assert all((output / name).read_text() == "mine" for name in mine)
        for name in (*mine, f"{STATE}/shortcut"):
            assert any(str(output / name) in said for said in heard.warnings), name
        assert (room / "finished/manifest.json").exists()
        verify(output)
        # They are in nobody's way.
        await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
        assert (output / mine[0]).read_text() == "mine"


def forge(output: Path, facts: dict[str, Any]) -> None:
    """Put facts into a journal as the tool itself would."""
    store = JournalStore(output / STATE / "journal.sqlite", cap=1 << 25)
    for name, value in facts.items():
        store.put_fact(name, json.dumps(value))
    store.close()


def misdirections(outside: Path, decision: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Facts of a journal that name files which are not of the export."""
    path = "delivery-partners/part-00000.parquet"
    letter = outside / "letter.txt"
    for place in (str(letter), f"../../{outside.name}/letter.txt", f"{STATE}/parts/../../../{outside.name}/letter.txt"):
        yield {"manifest": {**decision, "staged": decision["staged"] | {path: place}}}
    for target in (str(letter), f"../{outside.name}/letter.txt", "delivery-partners/../../home/letter.txt", "a/b/c"):
        staged = {name: at for name, at in decision["staged"].items() if name != path}
        yield {"manifest": {**decision, "staged": staged | {target: decision["staged"][path]}}}
    for gone in (str(letter), f"../{outside.name}/letter.txt", "documents/letter.txt", "manifest.json", "..", 5, None):
        yield {"replaced": [gone]}
    yield {"replaced": {"a": "b"}}
    yield {"manifest": []}
    yield {"manifest": {**decision, "manifest": {**decision["manifest"], "endpoints": {"x": {"files": 5}}}}}
    yield {"manifest": {**decision, "manifest": {**decision["manifest"], "run": "none"}}}


async def test_journal_naming_other_files_is_refused(room: Path, outside: Path) -> None:
    """A journal that names files of others is not followed."""
    async with serving_decided(room) as service:
        store = JournalStore(room / "decided" / STATE / "journal.sqlite", cap=1 << 25)
        decision = json.loads(store.fact("manifest") or "")
        store.close()
        for number, facts in enumerate(misdirections(outside, decision)):
            output = room / f"out-{number}"
            shutil.copytree(room / "decided", output)
            (output / "documents").mkdir()
            (output / "documents/letter.txt").write_text("mine")
            forge(output, facts)
            before = snapshot(outside), snapshot(output / "documents")
            with pytest.raises(DamagedState, match=r"journal\.sqlite"):
                await export(small_options(service.base_url, output), tuning=TUNING)
            assert (snapshot(outside), snapshot(output / "documents")) == before, facts
            shutil.rmtree(output)
        assert service.requests == []


def rename_first_file(manifest: dict[str, Any], path: object) -> dict[str, Any]:
    manifest["endpoints"]["delivery-partners"]["files"][0]["path"] = path
    return manifest


FOREIGN: list[Callable[[dict[str, Any]], Any]] = [
    lambda manifest: {"name": "web-app", "start_url": "/"},
    lambda manifest: manifest | {"tool": {"name": "other"}},
    lambda manifest: manifest | {"endpoints": {"delivery-partners": None}},
    lambda manifest: manifest | {"endpoints": {"delivery-partners": {"files": [5]}}},
    *(
        lambda manifest, path=path: rename_first_file(manifest, path)  # type: ignore[misc]  # bound early
        for path in (
            "../home/letter.txt",
            "/etc/hostname",
            "documents/letter.txt",
            "documents/part-00000.parquet",
            None,
        )
    ),
]


async def test_foreign_manifest_is_refused(room: Path) -> None:
    """A manifest that is not of an export is refused at the start."""
    async with serving_unfinished(room) as service:
        output = room / "finished"
        (output / "documents").mkdir()
        for name in ("letter.txt", "part-00000.parquet"):
            (output / "documents" / name).write_text("mine")
        whole = json.loads((output / "manifest.json").read_text())
        for forged in FOREIGN:
            (output / "manifest.json").write_text(json.dumps(forged(json.loads(json.dumps(whole)))))
            before = snapshot(output)
            with pytest.raises(DamagedState, match=r"manifest\.json"):
                await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
            assert snapshot(output) == before
        assert service.requests == []


async def test_file_that_looks_like_a_part_stays(room: Path) -> None:
    """A file of the user with the name of a part is not overwritten."""
    async with serving_unfinished(room) as service:
        for place in ("delivery-partners/part-00007.parquet", "pages.sqlite"):
            output = room / place.replace("/", "-")
            shutil.copytree(room / "finished", output)
            if place == "pages.sqlite":
                manifest = json.loads((output / "manifest.json").read_text())
                del manifest["archive"]
                (output / "manifest.json").write_text(json.dumps(manifest))
            (output / place).write_text("mine")
            with pytest.raises(DamagedState, match="in the way"):
                await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
            assert (output / place).read_text() == "mine"
        assert service.requests == []
    async with serving_decided(room / "late") as service:
        output = room / "late/decided"
        (output / "delivery-partners").mkdir()
        (output / "delivery-partners/part-00000.parquet").write_text("mine")
        with pytest.raises(DamagedState, match="in the way"):
            await export(small_options(service.base_url, output), tuning=TUNING)
        assert (output / "delivery-partners/part-00000.parquet").read_text() == "mine"
        (output / "delivery-partners/part-00000.parquet").unlink()
        await export(small_options(service.base_url, output), tuning=TUNING)
        assert content_of(output) == content_of(room / "late/finished")


async def test_replaced_output_is_left_alone(room: Path) -> None:
    """A directory that takes the output's place during a run is left alone."""
    async with serving_unfinished(room) as service:
        output, moved = room / "out", room / "moved"
        swapped = snapshot(room / "unfinished")

        class Swap(Observer):
            def page_stored(self, endpoint: str, page: int, records: int) -> None:
                if (endpoint, page) == ("participants-npq", 2):
                    output.rename(moved)
                    (room / "unfinished").rename(output)

        with pytest.raises(LocalFailure, match="was replaced by another directory"):
            await export(small_options(service.base_url, output), Swap(), tuning=TUNING)
        output.rename(room / "unfinished")
        assert snapshot(room / "unfinished") == swapped
        moved.rename(output)
        before = len(service.requests)
        await export(small_options(service.base_url, output), tuning=TUNING)
        assert len(service.requests) == before
        assert content_of(output) == content_of(room / "finished")
