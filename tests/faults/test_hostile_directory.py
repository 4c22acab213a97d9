"""Whatever lies in the output, nothing outside of it is written, moved or deleted, and nothing of others inside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.errors import BulkExportError, DamagedState, LocalFailure
from bulk_export.extract.journal import JournalStore
from bulk_export.output.verify import verify
from bulk_export.pipelines import workspace
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import Observer
from tests.support.disturbed_run import TUNING, small_options
from tests.support.small_service import SmallService, content_of, small_service

STATE = ".bulk-export"
FOLDER = f"{STATE}/parts/delivery-partners/revision-0"


class Killed(BaseException):
    """Ends a run as a kill would, in this process."""


def kill(*_: object, **__: object) -> None:
    raise Killed


class Heard(Observer):
    """Keeps what a person was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)


@contextlib.asynccontextmanager
async def service_of_unfinished(room: Path) -> AsyncIterator[SmallService]:
    """A service, with an export of it in `room` that died before its outcome was fixed, and one that is finished."""
    async with small_service() as service:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workspace, "decide", kill)
            with pytest.raises(Killed):
                await export(small_options(service.base_url, room / "unfinished"), tuning=TUNING)
        shutil.copytree(room / "unfinished", room / "whole")
        await export(small_options(service.base_url, room / "whole"), tuning=TUNING)
        service.requests.clear()
        yield service


def everything(path: Path) -> dict[str, Any]:
    """What is at and below a path: kinds, modes, links, contents."""
    found: dict[str, Any] = {}
    for entry in (path, *path.rglob("*")):
        look = entry.lstat()
        content: Any = None
        if stat.S_ISLNK(look.st_mode):
            content = entry.readlink()
        elif stat.S_ISREG(look.st_mode):
            content = entry.read_bytes()
        found[str(entry)] = (look.st_mode, look.st_uid, content)
    return found


def link(path: Path, outside: Path) -> None:
    """A link to the very thing that belongs here, among things of others."""
    if path.exists():
        path.rename(outside / "target")
    path.symlink_to(outside / "target")


def link_to_home(path: Path, outside: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(outside)


def pipe(path: Path, outside: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


def device(path: Path, outside: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices cannot be made here")


def second_name(path: Path, outside: Path) -> None:
    if not path.exists():
        path.write_bytes(b"")
        path.chmod(0o600)
    os.link(path, outside / "second name")


def somebody_elses(path: Path, outside: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("files of others can be made by root only")
    if not path.exists():
        path.write_bytes(b"")
        path.chmod(0o600)
    os.chown(path, 12345, 12345)


def open_to_all(path: Path, outside: Path) -> None:
    if not path.exists():
        path.write_bytes(b"")
    path.chmod(0o777 if path.is_dir() else 0o666)


DIRECTORIES = (STATE, f"{STATE}/parts", f"{STATE}/parts/delivery-partners", FOLDER)
DATABASE = tuple(f"{STATE}/journal.sqlite{suffix}" for suffix in ("", "-wal", "-shm", "-journal"))
FILES = (*DATABASE, f"{STATE}/pages.sqlite.partial", f"{FOLDER}/part-00000.parquet", f"{FOLDER}/part-00009.csv.partial")
ATTACKS: list[tuple[str, Callable[[Path, Path], None]]] = [
    *((place, attack) for place in (*DIRECTORIES, *FILES) for attack in (link, pipe, somebody_elses, open_to_all)),
    *((place, link_to_home) for place in DIRECTORIES),
    *((place, second_name) for place in DATABASE),
    (f"{STATE}/journal.sqlite", device),
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


async def test_what_stands_in_the_place_of_our_state_is_refused_by_name_before_a_request(
    room: Path, outside: Path
) -> None:
    """Links, pipes, devices, hard links, files of other users and files open to others, at every level."""
    async with service_of_unfinished(room) as service:
        for number, (place, attack) in enumerate(ATTACKS):
            output, home = room / f"out-{number}", room / f"home-{number}"
            shutil.copytree(room / "unfinished", output)
            shutil.copytree(outside, home)
            attack(output / place, home)
            before = everything(home)
            with anyio.fail_after(10), pytest.raises(BulkExportError) as refused:
                await export(small_options(service.base_url, output), tuning=TUNING)
            assert refused.value.exit_code in (2, 5), (place, attack)
            assert place.rpartition("/")[2] in refused.value.what, (place, attack, refused.value.what)
            assert "Nothing was" in refused.value.kept
            assert everything(home) == before, (place, attack)
            shutil.rmtree(output)
            shutil.rmtree(home)
        assert service.requests == []


async def test_what_stands_in_the_place_of_a_finished_export_is_not_replaced(room: Path, outside: Path) -> None:
    attacks = [
        *(
            (name, attack)
            for name in ("manifest.json", "pages.sqlite")
            for attack in (link, link_to_home, pipe, device)
        ),
        *(("delivery-partners", attack) for attack in (link, link_to_home, pipe)),
        *(("delivery-partners/part-00000.parquet", attack) for attack in (link, link_to_home, pipe)),
    ]
    async with service_of_unfinished(room) as service:
        for number, (place, attack) in enumerate(attacks):
            output, home = room / f"out-{number}", room / f"home-{number}"
            shutil.copytree(room / "whole", output)
            shutil.copytree(outside, home)
            attack(output / place, home)
            before = everything(home), everything(output)
            with anyio.fail_after(10), pytest.raises(BulkExportError) as refused:
                await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
            assert refused.value.exit_code in (2, 5), (place, attack)
            assert place.rpartition("/")[2] in refused.value.what, (place, attack, refused.value.what)
            assert (everything(home), everything(output)) == before, (place, attack)
        assert service.requests == []


async def test_a_second_name_of_a_finished_part_keeps_what_it_showed(room: Path, outside: Path) -> None:
    async with service_of_unfinished(room) as service:
        output = room / "whole"
        for name in ("manifest.json", "pages.sqlite", "delivery-partners/part-00000.parquet"):
            os.link(output / name, outside / name.rpartition("/")[2])
        before = everything(outside)
        await export(small_options(service.base_url, output, overwrite=True, format="ndjson"), tuning=TUNING)
        assert everything(outside) == before


async def test_files_of_the_user_in_the_working_state_stay_and_are_named(room: Path) -> None:
    mine = [
        f"{STATE}/notes.txt",
        f"{STATE}/parts/mine/letter.doc",
        f"{STATE}/parts/delivery-partners/sketch.png",
        f"{FOLDER}/thesis.doc",
        f"{FOLDER}/part-00000.parquet.bak",
        f"{STATE}/full/0/elsewhere/notes.txt",
    ]
    async with service_of_unfinished(room) as service:
        output, heard = room / "unfinished", Heard()
        for name in mine:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_text("mine")
        (output / STATE / "shortcut").symlink_to(room / "whole")
        await export(small_options(service.base_url, output), heard, tuning=TUNING)
        left = sorted(str(path.relative_to(output)) for path in (output / STATE).rglob("*") if path.is_file())
        assert left == sorted(mine)
        assert all((output / name).read_text() == "mine" for name in mine)
        for name in (*mine, f"{STATE}/shortcut"):
            assert any(str(output / name) in said for said in heard.warnings), name
        assert (room / "whole/manifest.json").exists()
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


@contextlib.asynccontextmanager
async def decided(room: Path) -> AsyncIterator[SmallService]:
    """A service with an export in `room/decided` whose outcome is fixed, and of which nothing was moved."""
    async with service_of_unfinished(room) as service:
        shutil.copytree(room / "unfinished", room / "decided")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workspace, "publish", kill)
            with pytest.raises(Killed):
                await export(small_options(service.base_url, room / "decided"), tuning=TUNING)
        yield service


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


async def test_a_journal_that_names_files_of_others_is_not_followed(room: Path, outside: Path) -> None:
    async with decided(room) as service:
        store = JournalStore(room / "decided" / STATE / "journal.sqlite", cap=1 << 25)
        decision = json.loads(store.fact("manifest") or "")
        store.close()
        for number, facts in enumerate(misdirections(outside, decision)):
            output = room / f"out-{number}"
            shutil.copytree(room / "decided", output)
            (output / "documents").mkdir()
            (output / "documents/letter.txt").write_text("mine")
            forge(output, facts)
            before = everything(outside), everything(output / "documents")
            with pytest.raises(DamagedState, match=r"journal\.sqlite"):
                await export(small_options(service.base_url, output), tuning=TUNING)
            assert (everything(outside), everything(output / "documents")) == before, facts
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


async def test_a_manifest_that_is_not_of_an_export_is_refused_at_the_start(room: Path) -> None:
    async with service_of_unfinished(room) as service:
        output = room / "whole"
        (output / "documents").mkdir()
        for name in ("letter.txt", "part-00000.parquet"):
            (output / "documents" / name).write_text("mine")
        whole = json.loads((output / "manifest.json").read_text())
        for forged in FOREIGN:
            (output / "manifest.json").write_text(json.dumps(forged(json.loads(json.dumps(whole)))))
            before = everything(output)
            with pytest.raises(DamagedState, match=r"manifest\.json"):
                await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
            assert everything(output) == before
        assert service.requests == []


async def test_a_file_that_only_looks_like_a_part_is_not_overwritten(room: Path) -> None:
    async with service_of_unfinished(room) as service:
        for place in ("delivery-partners/part-00007.parquet", "pages.sqlite"):
            output = room / place.replace("/", "-")
            shutil.copytree(room / "whole", output)
            if place == "pages.sqlite":
                manifest = json.loads((output / "manifest.json").read_text())
                del manifest["archive"]
                (output / "manifest.json").write_text(json.dumps(manifest))
            (output / place).write_text("mine")
            with pytest.raises(DamagedState, match="in the way"):
                await export(small_options(service.base_url, output, overwrite=True), tuning=TUNING)
            assert (output / place).read_text() == "mine"
        assert service.requests == []
    async with decided(room / "late") as service:
        output = room / "late/decided"
        (output / "delivery-partners").mkdir()
        (output / "delivery-partners/part-00000.parquet").write_text("mine")
        with pytest.raises(DamagedState, match="in the way"):
            await export(small_options(service.base_url, output), tuning=TUNING)
        assert (output / "delivery-partners/part-00000.parquet").read_text() == "mine"
        (output / "delivery-partners/part-00000.parquet").unlink()
        await export(small_options(service.base_url, output), tuning=TUNING)
        assert content_of(output) == content_of(room / "late/whole")


async def test_a_directory_that_takes_the_place_of_the_output_in_mid_run_is_left_alone(room: Path) -> None:
    async with service_of_unfinished(room) as service:
        output, moved = room / "out", room / "moved"
        swapped = everything(room / "unfinished")

        class Swap(Observer):
            def page_stored(self, endpoint: str, page: int, records: int) -> None:
                if (endpoint, page) == ("participants-npq", 2):
                    output.rename(moved)
                    (room / "unfinished").rename(output)

        with pytest.raises(LocalFailure, match="was replaced by another directory"):
            await export(small_options(service.base_url, output), Swap(), tuning=TUNING)
        output.rename(room / "unfinished")
        assert everything(room / "unfinished") == swapped
        moved.rename(output)
        before = len(service.requests)
        await export(small_options(service.base_url, output), tuning=TUNING)
        assert len(service.requests) == before
        assert content_of(output) == content_of(room / "whole")
