"""Nothing is taken out of a copy, or marked as removed, because one answer did not show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from aiohttp import web

from bulk_export.core.window_gate import utc_now
from bulk_export.errors import RemovalRefused, UsageError
from bulk_export.pipelines.sync.options import SyncOptions
from tests.support.command import FAST, run
from tests.support.copy_scene import HOUR, NAME, PARTNERS, WEEK, Scene, person, scene


def once(answer: list[Any]) -> Callable[[str, dict[str, str], list[Any]], list[Any]]:
    """The first answer is this one, the others are as they should be."""
    left = [answer]
    return lambda _name, _query, shown: left.pop() if left else shown


def in_the_first_load(it: Scene, doctor: Callable[[list[Any]], list[Any]]) -> Callable[..., list[Any]]:
    """The first load of a poll is shown what the doctor makes of it, in each of its answers; the second one is not."""

    def answer(_name: str, _query: dict[str, str], shown: list[Any]) -> list[Any]:
        return shown if any(it.directory.glob(".bulk-export/*/*/again-*")) else doctor(shown)

    return answer


@pytest.mark.parametrize(
    ("format_", "people"),
    [
        ("delta", 120),
        ("parquet", 3),
        *(pytest.param(*one, marks=pytest.mark.torture) for one in (("delta", 3), ("parquet", 120))),
    ],
)
async def test_empty_response_removes_nothing(tmp_path: Path, format_: str, people: int) -> None:
    """One empty response at a full sync removes nothing, and the next poll is full."""
    async with scene(tmp_path, people=people) as it:
        chosen: dict[str, Any] = {"format": format_, "removed": "delete"}
        await it.sync(**chosen)
        it.now += WEEK
        it.doctor = in_the_first_load(it, lambda _shown: [])
        (poll,) = (await it.sync(**chosen)).polls
        assert (poll.kind, poll.total("removed"), len(it.rows())) == ("full", 0, people)
        it.doctor = lambda _name, _query, shown: shown
        it.now += HOUR
        (poll,) = (await it.sync(**chosen)).polls
        assert (poll.kind, poll.total("unchanged")) == ("full", people)
        it.now += HOUR
        (poll,) = (await it.sync(**chosen)).polls
        assert poll.kind == "changes"


async def test_empty_response_is_outweighed(tmp_path: Path) -> None:
    """A single empty response is outweighed within its load."""
    async with scene(tmp_path, people=120) as it:
        await it.sync(removed="delete")
        for number in range(3):
            it.now += WEEK
            it.asked.clear()
            it.doctor = lambda _name, _query, shown, number=number: [] if len(it.asked) == number + 1 else shown
            (poll,) = (await it.sync(removed="delete")).polls
            assert (poll.kind, poll.total("unchanged"), poll.total("removed")) == ("full", 120, 0)
            assert len(it.rows()) == 120


async def test_fallen_cap_loses_nothing(tmp_path: Path) -> None:
    """A cap that fell to 1,000 of 3,050 records loses nothing."""
    async with scene(tmp_path, people=3_050) as it:
        chosen: dict[str, Any] = {"format": "parquet", "removed": "delete", "page_size": 3_000}
        await it.sync(**chosen)
        for falls_after in (0, 1):
            it.now += WEEK
            it.asked.clear()
            it.cap = lambda after=falls_after: 3_000 if len(it.asked) <= after else 1_000
            (poll,) = (await it.sync(**chosen)).polls
            assert (poll.kind, poll.total("unchanged"), poll.total("removed")) == ("full", 3_050, 0)
        # Pages are cut, while the next one still begins where they would have ended.
        it.now += WEEK
        it.cap, it.cut = lambda: 3_000, 1_000
        with pytest.raises(RemovalRefused, match="2,000 of 3,050"):
            await it.sync(**chosen)
        assert len(it.rows()) == 3_050
        it.cut = None
        it.now += HOUR
        (poll,) = (await it.sync(**chosen)).polls
        assert (poll.kind, poll.total("unchanged"), len(it.rows())) == ("full", 3_050, 3_050)


async def test_fallen_cap_is_refused(tmp_path: Path) -> None:
    """A cap that fell is refused, while the other records are merged and other endpoints are noted."""
    async with scene(tmp_path, people=400, partners=5) as it:
        chosen: dict[str, Any] = {"removed": "delete", "format": "parquet"}
        await it.sync(NAME, PARTNERS, **chosen)
        it.now += WEEK
        it.doctor = lambda name, query, shown: shown[:100] if name == NAME else shown
        it.records[NAME][0] = person(0, full_name="Renamed")
        it.records[NAME].insert(1, person(90_000))
        it.records[PARTNERS].append(person(77))
        for _ in range(1):
            with pytest.raises(RemovalRefused, match=r"30[01] of 40[01]") as refused:
                await it.sync(NAME, PARTNERS, **chosen)
            assert (refused.value.exit_code, NAME in refused.value.what) == (4, True)
            assert len(it.rows()) == 401
            assert not it.removed()
            assert it.rows()["p00000"]["full_name"] == "Renamed"
            assert "p00077" in it.rows(PARTNERS)
            assert it.reports[-1].polls[0].kind == "full"
            it.now += HOUR
        # It was an outage: once everything is shown again, nothing has to be confirmed.
        it.doctor = lambda _name, _query, shown: shown
        first, *_ = (await it.sync(NAME, PARTNERS, **chosen)).polls
        assert (first.kind, first.tables[NAME].counts.unchanged) == ("full", 401)
        it.now += HOUR
        assert [poll.kind for poll in (await it.sync(NAME, PARTNERS, **chosen)).polls] == ["changes"]


async def test_accepted_removals_are_made(tmp_path: Path) -> None:
    """Removals that a person accepts are made after the list was requested twice."""
    async with scene(tmp_path, people=200) as it:
        await it.sync()
        del it.records[NAME][100:]
        it.now += WEEK
        with pytest.raises(RemovalRefused):
            await it.sync()
        it.asked.clear()
        it.now += HOUR
        (poll,) = (await it.sync(accept_removals=True)).polls
        assert (poll.kind, poll.total("removed"), len(it.removed())) == ("full", 100, 100)
        assert len(it.asked) >= 2


@pytest.mark.torture
async def test_few_removals_need_nobody(tmp_path: Path) -> None:
    """A share below the limit, or few records, need no person."""
    async with scene(tmp_path, people=100) as it:
        await it.sync()
        del it.records[NAME][50:]
        it.now += WEEK
        (poll,) = (await it.sync()).polls
        assert (poll.kind, poll.total("removed")) == ("full", 50)
        it.records[NAME][:] = [person(number) for number in range(1_000, 1_600)]
        it.now += WEEK
        await it.sync(max_removed="100%")
        del it.records[NAME][500:]
        it.now += WEEK
        with pytest.raises(RemovalRefused, match="100 of 600"):
            await it.sync(max_removed="10%")
        it.now += HOUR
        assert (await it.sync(max_removed="20%")).polls[0].total("removed") == 100


async def test_full_load_at_each_poll_is_guarded(tmp_path: Path) -> None:
    """An endpoint that is fetched in full at each poll is guarded, too."""
    async with scene(tmp_path, partners=60) as it:
        await it.sync(PARTNERS, removed="delete")
        it.now += HOUR
        it.doctor = once([])
        (poll,) = (await it.sync(PARTNERS, removed="delete")).polls
        assert (poll.kind, poll.total("removed"), len(it.rows(PARTNERS))) == ("changes", 0, 60)
        it.now += HOUR
        it.doctor = lambda _name, _query, _shown: []
        with pytest.raises(RemovalRefused, match="60 of 60"):
            await it.sync(PARTNERS, removed="delete")
        assert len(it.rows(PARTNERS)) == 60


async def test_record_in_either_load_is_kept(tmp_path: Path) -> None:
    """A record that either of two loads shows is there and is merged."""
    async with scene(tmp_path, people=10) as it:
        await it.sync()
        it.now += WEEK
        new = [*it.records[NAME][:5], person(50), person(1, full_name="Older")]
        first = [one for one in new if one["id"] != "p00001"] + [person(1, full_name="First")]
        it.doctor = in_the_first_load(it, lambda _shown: first)
        it.records[NAME][1] = person(1, full_name="Second")
        await it.sync()
        assert set(it.rows()) == {one["id"] for one in it.records[NAME]} | {"p00050"}
        assert not it.removed()
        assert it.rows()["p00001"]["full_name"] == "Second"


async def test_marked_records_are_deleted_later(tmp_path: Path) -> None:
    """Records that were marked before are deleted by the first full sync that deletes."""
    async with scene(tmp_path, people=10) as it:
        await it.sync()
        gone = it.records[NAME].pop()
        it.now += WEEK
        await it.sync()
        assert it.removed() == {gone["id"]}
        it.now += HOUR
        (poll,) = (await it.sync(removed="delete")).polls
        assert (poll.kind, poll.total("deleted"), gone["id"] in it.rows()) == ("full", 1, False)
        assert poll.line().endswith("0 removed, 1 deleted")
        it.now += HOUR
        assert (await it.sync(removed="delete")).polls[0].kind == "changes"


async def test_token_is_proven_by_full_sync(
    tmp_path: Path,
) -> None:
    """A token of another provider is refused, and one of the same provider is proven by a full sync."""
    async with scene(tmp_path, people=40) as it:
        await it.sync()
        own, others = it.records[NAME], [person(number) for number in range(700, 740)]
        it.now += HOUR
        it.records[NAME] = others
        with pytest.raises(UsageError, match="another provider"):
            await it.sync(token="theirs", accept_token=True)
        assert not set(it.rows()) & {one["id"] for one in others}
        # Nothing of what was fetched then is taken in later.
        it.records[NAME] = own
        it.now += HOUR
        await it.sync()
        assert set(it.rows()) == {one["id"] for one in own}
        it.now += HOUR
        (poll,) = (await it.sync(token="new", accept_token=True)).polls
        assert poll.kind == "full"


async def test_shared_list_proves_no_token(tmp_path: Path) -> None:
    """A list that all providers see does not prove a token."""
    async with scene(tmp_path, people=5, partners=5) as it:
        await it.sync(NAME, PARTNERS, format="parquet")
        it.now += HOUR
        it.records[NAME] = [person(number) for number in range(700, 705)]
        with pytest.raises(UsageError, match=f"leaves out {NAME}"):
            await it.sync(PARTNERS, token="theirs", accept_token=True, format="parquet")
        with pytest.raises(UsageError, match="another token"):
            await it.sync(NAME, PARTNERS, token="theirs", format="parquet")


async def test_moved_service_is_proven_by_ids(tmp_path: Path) -> None:
    """A copy of a service that moved goes on once its ids are seen."""
    async with scene(tmp_path / "a", people=40) as it, scene(tmp_path / "b", people=40) as there:
        await it.sync()
        old = it.url
        it.now = there.now = it.now + HOUR
        with pytest.raises(UsageError, match="copy made with other options: --base-url"):
            await it.sync(base_url=there.url)
        with pytest.warns(UserWarning, match="part of the paths already"):
            (poll,) = (await it.sync(moved_to=f"{there.url}/api/v3")).polls
        assert (poll.kind, poll.total("unchanged"), len(there.asked)) == ("full", 40, 4)
        it.now = there.now = it.now + HOUR
        assert [one.kind for one in (await it.sync(base_url=old, moved_to=there.url)).polls] == ["changes"]
        it.records[NAME] = [person(number) for number in range(500, 540)]
        with pytest.raises(UsageError, match="another provider"):
            await it.sync(base_url=there.url, moved_to=old)


async def test_refused_depth_removes_nothing(tmp_path: Path) -> None:
    """Nothing is removed if the service refuses to page deeper."""
    async with scene(tmp_path, people=3_040) as it:
        chosen: dict[str, Any] = {"format": "parquet", "removed": "delete", "page_size": 3_000}
        await it.sync(**chosen)
        it.now += WEEK

        def shallow(_name: str, query: dict[str, str], shown: list[Any]) -> list[Any]:
            if query["page[page]"] != "1":
                raise web.HTTPNotFound
            return shown

        it.doctor = shallow
        summary = await it.sync(**chosen)
        assert (summary.polls[0].total("removed"), len(it.rows())) == (0, 3_040)
        assert any("may go on behind its last page" in remark for remark in summary.remarks)
        it.doctor = lambda _name, _query, shown: shown
        it.now += HOUR
        (poll,) = (await it.sync(**chosen)).polls
        assert (poll.kind, poll.total("unchanged")) == ("full", 3_040)


@pytest.mark.torture
async def test_unsettled_full_sync_is_repeated(tmp_path: Path) -> None:
    """A full sync whose sweeps did not agree is made again at the next poll."""
    async with scene(tmp_path, people=300) as it:
        await it.sync(page_size=100)
        it.now += WEEK
        turn = [0]

        def shuffle(_name: str, query: dict[str, str], shown: list[Any]) -> list[Any]:
            turn[0] += 1
            return [*shown[: turn[0]], *shown[turn[0] + 1 :]]

        it.doctor = shuffle
        it.records[NAME].extend(person(number) for number in range(300, 3_200))
        summary = await it.sync(page_size=100)
        assert summary.polls[0].tables[NAME].consistent is False
        assert any("a full sync again" in remark for remark in summary.remarks)
        it.doctor = lambda _name, _query, shown: shown
        it.now += HOUR
        assert (await it.sync()).polls[0].kind == "full"


async def test_command_exits_with_4(tmp_path: Path) -> None:
    """The command prints what was merged, and exits with 4."""
    async with scene(tmp_path, partners=60) as it:
        command = ["sync", PARTNERS, "--base-url", it.url, "--output", "copy", "--format", "parquet", *FAST]

        it.now = utc_now()
        await it.sync(PARTNERS, token="canary-token-7f3a", output=tmp_path / "copy", format="parquet")
        it.doctor = lambda _name, _query, shown: shown[:1]
        it.records[PARTNERS][0] = person(0, full_name="Renamed")
        refused = await anyio.to_thread.run_sync(lambda: run(*command, "--progress", "none", cwd=tmp_path))
        assert (refused.returncode, refused.stdout.split(";")[1]) == (
            4,
            " 1 fetched, 0 inserted, 1 updated, 0 unchanged, 0 removed\n",
        )
        what, advice = refused.stderr.splitlines()
        assert "asked twice: 59 of 60 in delivery-partners." in what
        assert "--accept-removals" in advice


def test_max_removed_is_a_percentage() -> None:
    """--max-removed is a percentage."""

    def share(given: Any) -> float:
        return SyncOptions.of(["statements"], environment="local", output="copy", max_removed=given).max_removed

    assert [share(one) for one in ("10%", "10", " 2.5% ", 0.25, "0", "100%")] == [0.1, 0.1, 0.025, 0.25, 0.0, 1.0]
    for wrong in ("", "many", "-1%", "101%", "nan", 2.0):
        with pytest.raises(UsageError, match="--max-removed"):
            share(wrong)
