"""Outputs on file systems that lack something: it is made up for, or said before a request is spent."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from tests.support.disk_calls import no_shared_memory
from tests.support.disturbed_run import TUNING, run_and_die, small_options
from tests.support.killed_exports import serving_unfinished
from tests.support.small_service import SmallService, content_of, small_service


@pytest.fixture
def other_disk(room: Path) -> Iterator[Path]:
    """A directory on another file system than `room`, where there are two."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        if Path(directory).stat().st_dev == room.stat().st_dev:
            pytest.skip("there is one file system only")
        yield Path(directory)


async def undisturbed(service: SmallService, directory: Path) -> dict[str, Any]:
    await export(small_options(service.base_url, directory / "undisturbed"), tuning=TUNING)
    service.requests.clear()
    return content_of(directory / "undisturbed")


async def test_journal_without_shared_memory(room: Path) -> None:
    """Without shared memory the journal works in another mode, and takes over one that was made with it."""
    async with serving_unfinished(room) as service:
        whole = content_of(room / "finished")
        with no_shared_memory() as attempts:
            await export(small_options(service.base_url, room / "out"), tuning=TUNING)
            assert attempts
            before = len(service.requests)
            await export(small_options(service.base_url, room / "unfinished"), tuning=TUNING)
            assert len(service.requests) == before
        assert content_of(room / "out") == content_of(room / "unfinished") == whole


async def test_journal_gains_shared_memory(room: Path) -> None:
    """A journal that was made without shared memory goes on where there is some."""
    with no_shared_memory():
        async with serving_unfinished(room) as service:
            pass
    assert service.requests == []
    async with small_service() as service:
        # Its pages are of another port, so only the outcome can tell that the journal was read.
        with pytest.raises(UsageError, match="--base-url"):
            await export(small_options(service.base_url, room / "unfinished"), tuning=TUNING)


@pytest.mark.parametrize("reason", [errno.EINVAL, errno.ENOTSUP])
async def test_unsyncable_directory_is_no_failure(room: Path, reason: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that cannot be synced is no failure."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(reason, os.strerror(reason))
        sync(descriptor)

    async with small_service() as service:
        whole = await undisturbed(service, room)
        monkeypatch.setattr(os, "fsync", fsync)
        await export(small_options(service.base_url, room / "out"), tuning=TUNING)
        assert content_of(room / "out") == whole


async def test_new_output_is_synced_first(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of a new output is synced before a request is sent."""
    sync = os.fsync
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        if not service.requests:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    async with small_service() as service:
        monkeypatch.setattr(os, "fsync", fsync)
        await export(small_options(service.base_url, room / "new/deep/out"), tuning=TUNING)
    assert {str(room), str(room / "new"), str(room / "new/deep"), str(room / "new/deep/out")} <= set(synced)


Lack = Callable[[pytest.MonkeyPatch, int], None]


def device_of(descriptor: int) -> int:
    return os.fstat(descriptor).st_dev


def lacks_flock(reason: int) -> Lack:
    def lack(patch: pytest.MonkeyPatch, device: int) -> None:
        flock = fcntl.flock

        def refuse(descriptor: int, operation: int) -> None:
            if device_of(descriptor) == device:
                raise OSError(reason, os.strerror(reason))
            flock(descriptor, operation)

        patch.setattr(fcntl, "flock", refuse)

    return lack


def lacks_lockf(patch: pytest.MonkeyPatch, device: int) -> None:
    lockf = fcntl.lockf

    def refuse(descriptor: int, operation: int) -> None:
        if device_of(descriptor) == device:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        lockf(descriptor, operation)

    patch.setattr(fcntl, "lockf", refuse)


def lacks_replace(patch: pytest.MonkeyPatch, device: int) -> None:
    """Renaming works, but not over a file that is there."""
    replace = os.replace

    def refuse(source: Any, target: Any, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if device_of(dst_dir_fd) == device:
            with contextlib.suppress(FileNotFoundError):
                os.stat(target, dir_fd=dst_dir_fd)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    patch.setattr(os, "replace", refuse)


@pytest.mark.parametrize(
    "lack",
    [lacks_flock(errno.ENOTSUP), lacks_lockf, lacks_replace],
    ids=["locks", "record locks", "rename over"],
)
async def test_unsuitable_file_system_is_refused(
    room: Path, other_disk: Path, lack: Lack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that cannot hold the working state is refused before a request, and a --work-dir on another disk
    helps.
    """
    async with small_service() as service:
        whole = await undisturbed(service, other_disk)
        lack(monkeypatch, room.stat().st_dev)
        with pytest.raises(LocalFailure) as refused:
            await export(small_options(service.base_url, room / "out"), tuning=TUNING)
        assert "--work-dir" in refused.value.next_step
        assert str(room / "out") in refused.value.what
        assert service.requests == []
        await export(small_options(service.base_url, room / "out", work_dir=other_disk / "work"), tuning=TUNING)
        assert content_of(room / "out") == whole
        assert list((other_disk / "work").iterdir()) == []


async def test_work_dir_is_left_empty(room: Path, other_disk: Path) -> None:
    """With --work-dir an export is the same, and nothing is left in that directory."""
    async with small_service() as service:
        whole = await undisturbed(service, room)
        for work in (other_disk / "work/deep", room / "work"):
            output = room / f"from-{work.parent.name}"
            await export(small_options(service.base_url, output / "out", work_dir=work), tuning=TUNING)
            assert content_of(output / "out") == whole
            assert list(work.iterdir()) == []
            verify(output / "out")
        archive = room / "undisturbed"
        options = ReplayOptions.of(archive, output=room / "again", format="ndjson", work_dir=other_disk / "work")
        await replay(options)
        verify(room / "again")
        assert [entry.name for entry in (other_disk / "work").iterdir()] == ["deep"]


async def test_unfinished_export_is_found_in_work_dir(room: Path, other_disk: Path) -> None:
    """An unfinished export goes on where its state is; with another --work-dir the message names that directory."""
    work, output = other_disk / "work", room / "out"
    async with small_service() as service:
        whole = await undisturbed(service, room)
        assert await die(service.base_url, work, output, 160)
        chosen = functools.partial(small_options, service.base_url, output)
        (state,) = work.iterdir()
        before = len(service.requests)
        for wrong in (None, room / "work", other_disk):
            with pytest.raises(UsageError, match="working state of the export") as refused:
                await export(chosen(work_dir=wrong), tuning=TUNING)
            assert str(state) in refused.value.what
            assert f"--work-dir {work}" in refused.value.next_step
        state.rename(other_disk / "lost")
        with pytest.raises(DamagedState, match=r"is not in .* any more"):
            await export(chosen(work_dir=work), tuning=TUNING)
        (other_disk / "lost").rename(state)
        assert len(service.requests) == before
        await export(chosen(work_dir=work), tuning=TUNING)
        assert content_of(output) == whole
        assert list(work.iterdir()) == []


async def test_state_in_output_is_not_left_for_work_dir(room: Path, other_disk: Path) -> None:
    """An export whose state is in the output does not start afresh in a --work-dir."""
    async with serving_unfinished(room) as service:
        with pytest.raises(UsageError, match="working state of the export") as refused:
            await export(small_options(service.base_url, room / "unfinished", work_dir=other_disk), tuning=TUNING)
        assert "Leave out --work-dir" in refused.value.next_step
        assert service.requests == []


async def die(base_url: str, work: Path, output: Path, number: int) -> bool:
    """Kill an export with its state in `work` at a disk call; whether it got so far."""
    dying = functools.partial(run_and_die, f"{base_url} {work}", output, number, torn=number % 2 == 0, work="elsewhere")
    return await anyio.to_thread.run_sync(dying, abandon_on_cancel=True)


async def kill_each(room: Path, other_disk: Path, first: int, step: int) -> int:
    """Kill exports from one disk to another at every `step`-th disk call, and let each go on; how many were killed."""
    async with small_service() as service:
        whole = await undisturbed(service, room)
        for number in itertools.count(first, step):
            output, work = room / "out", other_disk / "work"
            if not await die(service.base_url, work, output, number):
                return (number - first) // step
            if (output / "manifest.json").exists():
                found = content_of(output)
                assert {name: found[name] for name in whole} == whole
            with contextlib.suppress(UsageError):
                await export(small_options(service.base_url, output, work_dir=work), tuning=TUNING)
            assert content_of(output) == whole, number
            assert list(work.iterdir()) == [], number
            shutil.rmtree(output)
    raise AssertionError


@pytest.mark.slow
async def test_killed_export_to_another_disk(room: Path, other_disk: Path) -> None:
    """An export to another disk that is killed at some of its disk calls goes on to the same bytes."""
    assert await kill_each(room, other_disk, 31, 97) > 2


@pytest.mark.torture
@pytest.mark.parametrize("first", range(1, 5))
async def test_killed_export_to_another_disk_at_every_call(room: Path, other_disk: Path, first: int) -> None:
    """An export to another disk that is killed at each of its disk calls goes on to the same bytes."""
    assert await kill_each(room, other_disk, first, 4) > 20
