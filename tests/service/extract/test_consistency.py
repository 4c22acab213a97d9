"""`--consistent`: what was there during the whole run is exported exactly once, in a version it had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulk_export.errors import Interrupted
from bulk_export.extract.consistency import MOST_SWEEPS
from bulk_export.pipelines.export import export
from bulk_export.services.local import LocalService, serving
from tests.support import exporting
from tests.support.exporting import SEVEN_PER_PAGE, options
from tests.support.outputs import file_digests, read_ndjson

NAME = "participant-declarations"


class Witness:
    """Changes the data before requests as a script says, and remembers every version of every record."""

    def __init__(self, script: Mapping[int, tuple[str, int]]) -> None:
        self._script = script
        self._requests = 0
        self.versions: dict[str, list[Any]] = {}
        self.stayed: set[str] = set()

    def begin(self, service: LocalService) -> None:
        self.stayed = {record["id"] for record in service.truth(NAME)}
        self._look(service)
        service.before_request = self.before

    def before(self, service: LocalService, _: object) -> None:
        self._requests += 1
        change, place = self._script.get(self._requests, ("nothing", 0))
        count = service.count(NAME)
        if change == "append":
            service.append(NAME, 1 + place % 3)
        elif count and change == "remove":
            service.remove(NAME, place % count)
        elif count and change == "touch":
            service.touch(NAME, place % count)
        if change != "nothing":
            self._look(service)

    def _look(self, service: LocalService) -> None:
        now = {record["id"]: record for record in service.truth(NAME)}
        self.stayed &= now.keys()
        for identity, record in now.items():
            versions = self.versions.setdefault(identity, [])
            if record not in versions:
                versions.append(record)


async def run(output: Path, records: int, page_size: int, workers: int, witness: Witness, **changes: Any) -> Any:
    """Export consistently while the witness changes the data; what the manifest says of the endpoint."""
    async with serving(exporting.settings(service=SEVEN_PER_PAGE, records_by_endpoint={NAME: records})) as service:
        witness.begin(service)
        chosen = options(
            service,
            output,
            NAME,
            service=SEVEN_PER_PAGE,
            page_size=page_size,
            workers=workers,
            format="ndjson",
            consistent=True,
            **changes,
        )
        await export(chosen)
    return json.loads((output / "manifest.json").read_bytes())["endpoints"][NAME]


changes = st.tuples(st.sampled_from(["append", "remove", "remove", "touch"]), st.integers(0, 100))


histories = given(
    records=st.integers(0, 45),
    page_size=st.integers(1, 7),
    workers=st.integers(1, 3),
    script=st.dictionaries(st.integers(1, 40), changes, max_size=12),
)


@settings(max_examples=12, deadline=None)
@histories
@example(records=20, page_size=5, workers=1, script={2: ("remove", 0)})
@example(records=20, page_size=5, workers=1, script={2: ("remove", 0), 6: ("remove", 0), 8: ("touch", 3)})
def test_records_that_stayed_are_exported_once(
    records: int, page_size: int, workers: int, script: dict[int, tuple[str, int]]
) -> None:
    """Every record that stayed is exported once, in a version that it had."""
    check_promise(records, page_size, workers, script)


@pytest.mark.torture
@settings(max_examples=3_000, deadline=None)
@histories
def test_thousands_of_histories(records: int, page_size: int, workers: int, script: dict[int, tuple[str, int]]) -> None:
    """For thousands of histories, every record that stayed is exported once, in a version that it had."""
    check_promise(records, page_size, workers, script)


def check_promise(records: int, page_size: int, workers: int, script: dict[int, tuple[str, int]]) -> None:
    witness = Witness(script)
    with TemporaryDirectory() as directory:
        output = Path(directory) / "out"
        stated = anyio.run(lambda: run(output, records, page_size, workers, witness))
        written = read_ndjson(output / NAME)
    ids = [record["id"] for record in written]
    assert len(set(ids)) == len(ids) == stated["records"]
    assert all(record in witness.versions[record["id"]] for record in written)
    if stated["consistent"]:
        assert witness.stayed <= set(ids)
    else:
        assert stated["swept_again"] == MOST_SWEEPS


async def test_hidden_record_is_recovered(tmp_path: Path) -> None:
    """A record that another one hid by vanishing is recovered, and the vanished one is kept."""
    witness = Witness({3: ("remove", 0)})
    stated = await run(tmp_path / "out", 30, 5, 1, witness)
    assert (stated["records"], stated["recovered"], stated["gone"]) == (30, 1, 1)
    assert (stated["consistent"], stated["changed_during_export"]) == (True, True)


async def test_vanished_record_is_dropped(tmp_path: Path) -> None:
    """A vanished record is left out with --gone drop."""
    witness = Witness({3: ("remove", 0)})
    stated = await run(tmp_path / "out", 30, 5, 1, witness, gone="drop")
    assert (stated["records"], stated["recovered"], stated["gone"]) == (29, 1, 1)
    assert {record["id"] for record in read_ndjson(tmp_path / "out" / NAME)} == witness.stayed


async def test_changed_record_is_exported_newest(tmp_path: Path) -> None:
    """A record that changed during the export is exported in its newest version."""
    witness = Witness({9: ("touch", 2)})
    stated = await run(tmp_path / "out", 30, 5, 1, witness)
    assert (stated["records"], stated["changed"]) == (30, 1)
    written = {record["id"]: record for record in read_ndjson(tmp_path / "out" / NAME)}
    assert written == {identity: versions[-1] for identity, versions in witness.versions.items()}


async def test_sweeps_of_quiet_data(tmp_path: Path) -> None:
    """Quiet data cost two more sweeps, and one where everything fits into a page."""
    quiet = Witness({})
    assert (await run(tmp_path / "many", 30, 5, 1, quiet))["swept_again"] == 2
    few = await run(tmp_path / "few", 6, 5, 1, quiet)
    assert (few["swept_again"], few["consistent"], few["changed_during_export"]) == (1, True, False)
    # One of them checks that the service does not cut the first short page.
    assert few["requests"] == 4


async def test_restless_data_are_in_doubt(tmp_path: Path) -> None:
    """Data that change all the time are reported as inconsistent."""
    restless = Witness(dict.fromkeys(range(1, 400), ("append", 0)))
    stated = await run(tmp_path / "out", 20, 5, 1, restless)
    assert (stated["consistent"], stated["changed_during_export"]) == (False, True)
    assert stated["swept_again"] == MOST_SWEEPS


async def test_resumes_within_further_sweeps(tmp_path: Path) -> None:
    """An interrupted run goes on in the middle of its further sweeps.

    Stopped after any number of requests, the result is that of an undisturbed run.
    """
    undisturbed = tmp_path / "undisturbed"
    await run(undisturbed, 40, 4, 2, Witness({}))
    async with serving(exporting.settings(service=SEVEN_PER_PAGE, records_by_endpoint={NAME: 40})) as service:
        chosen = options(
            service,
            tmp_path / "out",
            NAME,
            service=SEVEN_PER_PAGE,
            page_size=4,
            workers=2,
            format="ndjson",
            consistent=True,
        )
        interruptions = 0
        while True:
            stop = anyio.Event()
            sent = len(service.log)

            def count(it: LocalService, _: object, sent: int = sent, stop: anyio.Event = stop) -> None:
                if len(it.log) - sent >= 3:
                    stop.set()

            service.before_request = count
            try:
                await export(chosen, stop=stop)
            except Interrupted:
                interruptions += 1
                continue
            break
        pages_fetched = len(service.log)
    assert interruptions >= 5
    assert file_digests(tmp_path / "out") == file_digests(undisturbed)
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"][NAME]
    assert stated["requests"] == pages_fetched


async def test_without_the_option_signs_of_change_are_stated(tmp_path: Path) -> None:
    witness = Witness({2: ("remove", 0), 5: ("append", 0)})
    async with serving(exporting.settings(records_by_endpoint={NAME: 30})) as service:
        witness.begin(service)
        await export(options(service, tmp_path / "out", NAME, page_size=5, workers=4, format="ndjson"))
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"][NAME]
    assert "consistent" not in stated
    assert stated["changed_during_export"] == bool(stated["signs_of_change"])


@pytest.mark.parametrize("name", ["statements", "participants-npq", "delivery-partners"])
async def test_any_order_is_read_consistently(tmp_path: Path, name: str) -> None:
    """Endpoints in any order can be read consistently."""
    async with serving(exporting.settings(records_by_endpoint={name: 500})) as service:
        await export(options(service, tmp_path / "out", name, page_size=30, format="ndjson", consistent=True))
        expected = {record["id"]: record for record in service.truth(name)}
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["endpoints"][name]
    assert (stated["records"], stated["consistent"], stated["gone"]) == (500, True, 0)
    assert {record["id"]: record for record in read_ndjson(tmp_path / "out" / name)} == expected
