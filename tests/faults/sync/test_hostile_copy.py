"""Whatever lies in a copy, a poll writes, moves and deletes nothing outside of it, and waits for no pipe."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import BulkExportError, DamagedState
from bulk_export.pipelines.checks.tables import find_tables
from tests.support.attacks import (
    device,
    link,
    link_to_home,
    open_to_all,
    pipe,
    snapshot,
    somebody_elses,
)
from tests.support.copy_scene import HOUR, NAME, scene

Attack = Callable[[Path, Path], None]
PARTS = {"delta": f"{NAME}/part-*.parquet", "parquet": f"{NAME}/part-00000.parquet"}
FOLDERS = {"delta": (NAME, f"{NAME}/_delta_log"), "parquet": (NAME,)}


def dangling(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / "new")


def a_file(path: Path, outside: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"")


def attacks(format_: str) -> list[tuple[str, Attack]]:
    files = ("sync.json", "sync-log.jsonl", PARTS[format_])
    log = (f"{NAME}/_delta_log/*0.json",) if format_ == "delta" else ()
    return [
        *((place, attack) for place in (*FOLDERS[format_], *files) for attack in (link, pipe, somebody_elses)),
        *((place, attack) for place in FOLDERS[format_] for attack in (link_to_home, a_file)),
        *((place, attack) for place in (*files, *log) for attack in (dangling, open_to_all, device)),
        (".bulk-export/merge", link_to_home),
        (".bulk-export/full", link_to_home),
    ]


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_attack_on_copy_is_refused(tmp_path: Path, format_: str) -> None:
    """What replaced a part of a copy is refused by name before a request.

    Links, pipes, devices, files of other users and what others may write to, at every level.
    """
    if os.geteuid() != 0:
        pytest.skip("files of others and devices can be made by root only")
    async with scene(tmp_path, people=5) as it:
        await it.sync(format=format_)
        whole, requests = it.directory, len(it.asked)
        it.now += HOUR
        for number, (place, attack) in enumerate(attacks(format_)):
            it.directory, home = tmp_path / f"copy-{number}", tmp_path / f"home-{number}"
            shutil.copytree(whole, it.directory)
            (it.directory / ".bulk-export").mkdir(0o700, exist_ok=True)
            home.mkdir()
            (home / "part-00000.parquet").write_text("mine")
            path = next(it.directory.glob(place), it.directory / place)
            attack(path, home)
            before = snapshot(home)
            with anyio.fail_after(10), pytest.raises(BulkExportError) as refused:
                await it.sync(format=format_)
            assert refused.value.exit_code in (2, 5), (place, attack)
            assert path.name in refused.value.what, (place, attack, refused.value.what)
            assert snapshot(home) == before, (place, attack)
        assert len(it.asked) == requests


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_hard_linked_backup_keeps_its_content(tmp_path: Path, format_: str) -> None:
    """A backup made of hard links keeps the content that it had."""
    async with scene(tmp_path, people=5) as it:
        await it.sync(format=format_)
        backup = tmp_path / "backup"
        shutil.copytree(it.directory, backup, copy_function=os.link)
        before = {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()}
        it.now += HOUR
        it.records[NAME][0]["attributes"] |= {"full_name": "Other", "updated_at": f"{it.now:%Y-%m-%dT%H:%M:%SZ}"}
        assert (await it.sync(format=format_)).polls[0].total("updated") == 1
        assert {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()} == before
        assert len((it.directory / "sync-log.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_check_does_not_wait_for_a_pipe(tmp_path: Path, format_: str) -> None:
    """A check does not wait for a pipe in place of a table's file."""
    async with scene(tmp_path, people=5) as it:
        await it.sync(format=format_)
        pipe(next(it.directory.glob(PARTS[format_])), tmp_path)
        with pytest.raises(DamagedState):
            find_tables(it.directory)
