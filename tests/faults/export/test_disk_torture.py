"""An export whose n-th disk call fails, or is its last, for n = 1, 2, 3, … until it succeeds.

Each is then continued, and must hold what an undisturbed one holds, byte for byte.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.disturbed_run import TUNING, Blow, run_and_die, run_many, small_options
from tests.support.exporting import settings
from tests.support.small_service import ENDPOINTS, SmallService, content_of, expected_ids, small_service

# At most this many requests were under way, or beyond the end, when a run was stopped.
UNDER_WAY = 4


async def undisturbed(service: SmallService, directory: Path) -> tuple[dict[str, Any], int]:
    """What an export that nothing happens to holds, and how many requests it takes."""
    before = len(service.requests)
    await export(small_options(service.base_url, directory), tuning=TUNING)
    content = content_of(directory)
    for endpoint in ENDPOINTS:
        lines = b"".join(content[name] for name in content if name.startswith(endpoint) and name.endswith(".ndjson"))
        assert [json.loads(line)["id"] for line in lines.splitlines()] == expected_ids(endpoint)
    return content, len(service.requests) - before


async def killed(service: SmallService, output: Path, number: int, *, torn: bool) -> bool:
    return await anyio.to_thread.run_sync(
        functools.partial(run_and_die, service.base_url, output, number, torn=torn), abandon_on_cancel=True
    )


async def kill_each(room: Path, first: int, step: int, *, torn: bool) -> int:
    """Kill exports at disk call `first`, `first + step`, … and let each go on; how many were killed."""
    async with small_service() as service:
        content, least = await undisturbed(service, room / "undisturbed")
        for count in itertools.count():
            output = room / "out"
            before = len(service.requests)
            if not await killed(service, output, first + count * step, torn=torn):
                assert content_of(output) == content
                return count
            if (output / "manifest.json").exists():
                published = content_of(output)
                assert {name: published[name] for name in content} == content
            with contextlib.suppress(UsageError):
                await export(small_options(service.base_url, output), tuning=TUNING)
            assert content_of(output) == content, first + count * step
            assert len(service.requests) - before <= least + UNDER_WAY
            shutil.rmtree(output)
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "in mid-write"])
@pytest.mark.parametrize("first", [7])
async def test_killed_at_any_disk_call(room: Path, first: int, torn: bool) -> None:
    """An export that is killed at some of its disk calls goes on to the same bytes."""
    # The two ways to die share out the calls between them.
    assert await kill_each(room, first + 26 * torn, 52, torn=torn) > 5


@pytest.mark.torture
@pytest.mark.parametrize("torn", [False, True], ids=["between calls", "in mid-write"])
@pytest.mark.parametrize("first", range(1, 11))
async def test_killed_at_every_disk_call(room: Path, first: int, torn: bool) -> None:
    """An export that is killed at each of its disk calls goes on to the same bytes."""
    assert await kill_each(room, first, 10, torn=torn) > 30


@pytest.mark.parametrize(
    ("number", "growth"),
    [
        pytest.param(30, 3, marks=pytest.mark.slow),
        pytest.param(60, 4, marks=pytest.mark.torture),
        *(pytest.param(number, 1, marks=pytest.mark.torture) for number in range(1, 105, 10)),
    ],
)
async def test_killed_again_and_again_an_export_gets_through(room: Path, number: int, growth: int) -> None:
    """Each run dies a little later than the one before, and leaves a little more behind."""
    async with small_service() as service:
        content, least = await undisturbed(service, room / "undisturbed")
        before = len(service.requests)
        deaths = 0
        while await killed(service, room / "out", number + growth * deaths, torn=deaths % 2 == 1):
            deaths += 1
        assert deaths > 10
        assert content_of(room / "out") == content
        assert len(service.requests) - before <= least + UNDER_WAY * deaths


FAILURES = [
    pytest.param(errno.ENOSPC, True, True, id="the disk fills up"),
    pytest.param(errno.EIO, False, False, id="one call fails"),
]


async def fail_each(room: Path, error: int, numbers: range, *, lasting: bool, torn: bool) -> None:
    async with small_service() as service:
        content, _ = await undisturbed(service, room / "undisturbed")
        blows = [Blow(number, error, lasting, torn) for number in numbers]
        for blow, failed, again in await anyio.to_thread.run_sync(run_many, service.base_url, room, blows):
            # Before the first request, a place that cannot be written to is wrong usage.
            assert failed.exit_code == 5 or (failed.exit_code, blow.number < 6) == (2, True) or not failed.message, (
                blow,
                failed,
            )
            assert again.exit_code == 0 or "holds a finished export" in again.message, (blow, again)
            assert (failed.leaked, again.leaked) == (0, 0), blow
            assert content_of(room / str(blow.number)) == content, blow


@pytest.mark.slow
@pytest.mark.parametrize(("error", "lasting", "torn"), FAILURES)
@pytest.mark.parametrize("first", [9])
async def test_failing_disk_call(room: Path, error: int, lasting: bool, torn: bool, first: int) -> None:
    """A disk call that fails is a local failure, and the export goes on when the disk works again."""
    await fail_each(room, error, range(first + 42 * lasting, 410, 84), lasting=lasting, torn=torn)


@pytest.mark.torture
@pytest.mark.parametrize(("error", "lasting", "torn"), FAILURES)
@pytest.mark.parametrize("first", range(1, 11))
async def test_any_failing_disk_call(room: Path, error: int, lasting: bool, torn: bool, first: int) -> None:
    """Whichever disk call fails, the export goes on when the disk works again."""
    await fail_each(room, error, range(first, 450, 10), lasting=lasting, torn=torn)


async def kill_other_work(room: Path, work: str, first: int, step: int) -> int:
    """Kill replacements, replays and consistent exports at disk call `first`, `first + step`, …; how many were."""
    served = settings(records_by_endpoint={"participants-npq": 45, "delivery-partners": 12})
    async with small_service() as small, serving(served) as service:
        await export(small_options(small.base_url, room / "kept"), tuning=TUNING)
        old = content_of(room / "kept")
        url = {"replay": str(room / "kept" / "pages.sqlite"), "prove": service.base_url}.get(work, small.base_url)

        async def go(output: Path, number: int) -> bool:
            if work == "replace" and not output.exists():
                shutil.copytree(room / "kept", output)
            dying = functools.partial(run_and_die, url, output, number, torn=number % 2 == 0, work=work)
            return await anyio.to_thread.run_sync(dying, abandon_on_cancel=True)

        assert not await go(room / "undisturbed", 0)
        content = content_of(room / "undisturbed")
        assert "manifest.json" in content
        for count in itertools.count():
            output = room / "out"
            if not await go(output, first + count * step):
                assert content_of(output) == content
                return count
            if (output / "manifest.json").exists():
                found = content_of(output)
                whole = old if work == "replace" and found["manifest.json"] == old["manifest.json"] else content
                assert {name: found[name] for name in whole} == whole
            if not (output / "manifest.json").exists() or (output / ".bulk-export").exists():
                assert not await go(output, 0)
                assert content_of(output) == content, first + count * step
            shutil.rmtree(output)
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize(("work", "step"), [("replace", 47), ("replay", 47), ("prove", 94)])
async def test_other_work_killed_at_any_disk_call(room: Path, work: str, step: int) -> None:
    """A replacement, a replay or a consistent export that is killed goes on, and what was there before is complete
    until then.
    """
    assert await kill_other_work(room, work, 4, step) > 2


@pytest.mark.torture
@pytest.mark.parametrize("work", ["replace", "replay", "prove"])
@pytest.mark.parametrize("first", range(1, 5))
async def test_other_work_killed_at_every_disk_call(room: Path, work: str, first: int) -> None:
    """A replacement, a replay or a consistent export that is killed at each of its disk calls goes on."""
    assert await kill_other_work(room, work, first, 4) > 20
