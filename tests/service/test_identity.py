"""What identifies a record: twins of one answer and records without an identity are all exported, repetitions once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bulk_export
from bulk_export.core.model import Service
from bulk_export.errors import Interrupted
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.progress.summary import remarks
from bulk_export.services.catalogue import choose_endpoints, load_service
from tests.service.test_export import content_of, read_ndjson, read_parquet
from tests.support.exporting import FREE, QUICK, TOKEN
from tests.support.list_service import NAME, ListService, Records, described, exported, options, person, serving_list
from tests.support.restore import canonical, restore

TRAINING = described(records={"identity": ["attributes.training_record_id"]})
BOTH = described(records={"id": ["id", "attributes.training_record_id"]})
MENTOR = {"training_record_id": "mentor", "name": "The same person"}


def nameless(number: int, **members: Any) -> dict[str, Any]:
    record = person(number, training_record_id=None)
    del record["id"]
    return record | members


# Two records of one person on the first page of five, two of another on two pages, and records that nothing identifies.
PEOPLE = [
    person(0),
    person(1),
    person(1, **MENTOR),
    nameless(20, id=None),
    nameless(20, id=None),
    person(2),
    person(3),
    nameless(21),
    nameless(22, id=7),
    person(4),
    person(0, training_record_id="mentor of 0"),
    nameless(20, id=None),
    nameless(23, id=7),
]


def counted(records: Iterable[Any]) -> Counter[str]:
    return Counter(json.dumps(canonical(record), sort_keys=True) for record in records)


@pytest.mark.parametrize("described_as", [described(), TRAINING, BOTH], ids=["id", "field", "fields"])
@pytest.mark.parametrize("consistent", [False, True])
async def test_everything_is_exported_streamed_and_replayed(
    tmp_path: Path, described_as: Service, consistent: bool
) -> None:
    async with serving_list(PEOPLE) as service:
        stated = await exported(
            service,
            tmp_path / "out",
            described_as,
            consistent=consistent,
            keep_pages=True,
            format=("ndjson", "parquet"),
        )
        rows = [
            row
            async for batch in bulk_export.stream(
                NAME, service=described_as, base_url=service.base_url, token=TOKEN, page_size=5, **FREE
            )
            for row in batch.to_pylist()
        ]
    await replay(
        ReplayOptions.of(
            tmp_path / "out", service=described_as, output=tmp_path / "again", format=("ndjson", "parquet")
        )
    )
    for output in (tmp_path / "out", tmp_path / "again"):
        assert counted(read_ndjson(output / NAME)) == counted(PEOPLE)
        assert counted(map(restore, read_parquet(output / NAME))) == counted(PEOPLE)
    assert counted(map(restore, rows)) == counted(PEOPLE)
    assert stated["records"] == len(PEOPLE)
    assert stated.get("shared_ids", 0) >= (2 if described_as == described() else 0)
    assert stated.get("consistent", True) is True


async def test_the_summary_says_that_the_id_does_not_identify(tmp_path: Path) -> None:
    twins = [person(0), person(1), person(1, **MENTOR)]
    async with serving_list(twins) as service:
        summary = await export(options(service, tmp_path / "out", described()))
        found = await export(options(service, tmp_path / "by_field", TRAINING))
    (line,) = remarks(summary)
    assert line == (
        "people: 2 records share their id with another one in the same answer, so the id does not identify them;"
        " all were kept"
    )
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"][NAME]
    assert (stated["shared_ids"], stated["duplicates"], stated["changed_during_export"]) == (2, 0, False)
    assert remarks(found) == []


async def test_twins_of_a_table_stand_in_one_answer_however_many_pages_it_is_cut_into(tmp_path: Path) -> None:
    people = [person(0), *(person(number) for number in range(1, 12)), person(0, **MENTOR)]
    for consistent in (False, True):
        async with serving_list(people, as_table=True) as service:
            output = tmp_path / str(consistent)
            stated = await exported(service, output, described(format="csv"), consistent=consistent)
        assert (stated["records"], stated["shared_ids"], stated["duplicates"]) == (13, 2, 0)
        found = [(row["id"], row["training_record_id"]) for row in read_ndjson(output / NAME)]
        assert found == [(one["id"], one["attributes"]["training_record_id"]) for one in people]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("form", ["json", "csv"])
async def test_people_who_are_trained_and_mentors_too_are_both_in_ecf(tmp_path: Path, version: str, form: str) -> None:
    """25 of 275 records have the id of another one that stands many pages away."""
    service = load_service("ecf", version)
    name = "participants-ecf" if form == "json" else "participants-ecf-csv"
    (listed,) = choose_endpoints(service, [name])
    field = (*listed.shape.attributes, "training_record_id")
    participants = replace(listed, path="/people", shape=replace(listed.shape, identity=(field,)))
    people = [person(number) for number in range(250)]
    people += [person(number, training_record_id=f"mentor {number}") for number in range(25)]
    async with serving_list(people, cap=3_000, as_table=form == "csv") as it:
        chosen = options(it, tmp_path / "out", replace(service, endpoints=(participants,)), page_size=40, names=[name])
        await export(chosen)
    assert len(read_ndjson(tmp_path / "out" / name)) == 275
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"][name]
    assert (stated["records"], stated["duplicates"], stated["changed_during_export"]) == (275, 0, False)
    assert "shared_ids" not in stated


async def test_twins_that_no_page_shows_together_are_found_by_looking_twice(tmp_path: Path) -> None:
    """Nothing says that the first version was updated; each sweep shows both."""
    twins = [person(0), *(person(number) for number in range(1, 12)), person(0, **MENTOR)]
    for consistent in (False, True):
        async with serving_list(twins) as service:
            stated = await exported(service, tmp_path / str(consistent), described(), consistent=consistent)
        assert counted(read_ndjson(tmp_path / str(consistent) / NAME)) == counted(twins)
        assert (stated["records"], stated["changed_during_export"]) == (13, False)


@pytest.mark.parametrize("described_as", [described(), TRAINING], ids=["id", "field"])
async def test_a_record_that_two_pages_show_is_exported_once_beside_twins(
    tmp_path: Path, described_as: Service
) -> None:
    """The second page begins with the last record of the first, so the last record of the second is on none."""
    people = [person(0), person(0, **MENTOR), *(person(number) for number in range(1, 12))]
    late = [person(99), *people]
    async with serving_list(people, ordered=lambda _, number, __: late if number == 2 else people) as service:
        stated = await exported(service, tmp_path / "out", described_as, workers=1)
    assert counted(read_ndjson(tmp_path / "out" / NAME)) == counted(people)
    assert (stated["records"], stated["duplicates"], stated["recovered"]) == (13, 1, 1)


RECORD = st.one_of(
    st.builds(person, st.integers(0, 3), training_record_id=st.sampled_from("ab")),
    st.builds(nameless, st.integers(0, 1), id=st.sampled_from([None, 7, ""])),
)


@settings(max_examples=10, deadline=None)
@given(
    people=st.lists(RECORD, max_size=18),
    page_size=st.integers(1, 7),
    bent=st.integers(1, 12),
    to=st.integers(0, 3),
)
def test_consistently_read_nothing_is_lost_whatever_shares_an_identity_and_whichever_answer_is_short(
    people: list[Any], page_size: int, bent: int, to: int
) -> None:
    """No record stands here twice under the same id, unless it is another one or on the same page."""

    async def run(output: Path) -> dict[str, Any]:
        async with serving_list(people, bend=lambda number, shown: shown[:to] if number == bent else shown) as service:
            return await exported(service, output, described(), page_size=page_size, consistent=True, gone="drop")

    with TemporaryDirectory() as directory:
        output = Path(directory) / "out"
        stated = anyio.run(run, output)
        written = counted(read_ndjson(output / NAME))
    served = counted(people)
    assert written.keys() <= served.keys()
    assert all(count <= served[record] for record, count in written.items())
    if stated["consistent"]:
        alike = {record for record, count in served.items() if count > 1 and '"id": "id-' in record}
        lost = served - written
        assert lost.keys() <= alike


@pytest.mark.parametrize("described_as", [described(), TRAINING], ids=["id", "field"])
async def test_stopped_anywhere_an_export_of_twins_has_the_same_bytes(tmp_path: Path, described_as: Service) -> None:
    async def run(output: Path, stopping: Callable[[ListService, anyio.Event], None]) -> int:
        stops = 0
        async with serving_list(PEOPLE) as service:
            chosen = options(service, output, described_as, consistent=True, format=("ndjson", "parquet"))
            while True:
                stop = anyio.Event()
                stopping(service, stop)
                try:
                    await export(chosen, stop=stop, tuning=QUICK)
                except Interrupted:
                    stops += 1
                    continue
                return stops

    def soon(service: ListService, stop: anyio.Event) -> None:
        begun = len(service.queries)

        def bend(number: int, records: Records) -> Records:
            if number >= begun + 2:
                stop.set()
            return records

        service.bend = bend

    assert await run(tmp_path / "undisturbed", lambda _, __: None) == 0
    assert await run(tmp_path / "stopped", soon) >= 2
    assert content_of(tmp_path / "stopped") == content_of(tmp_path / "undisturbed")
