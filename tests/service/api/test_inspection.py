"""What the commands that look and write nothing do, as functions with typed results."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import anyio
import pyarrow as pa
import pytest
from anyio.from_thread import start_blocking_portal

import bulk_export
from bulk_export.services.catalogue import load_service
from bulk_export.services.local import serving
from tests.support.check_tables import application, declaration, write_export
from tests.support.exporting import FREE, TOKEN, settings
from tests.support.specs import spec


def test_plan() -> None:
    """The cost by endpoint, from numbers as Python has them."""
    made = bulk_export.plan("statements", "npq-applications", records={"npq-applications": 3_000}, latency=0.25)
    assert made.cost.requests["npq-applications"] > 10
    assert (made.poll, made.unknown, made.page_size) == (None, ("statements",), 300)
    assert bulk_export.plan("statements", records=100).records == {"statements": 100}
    both = bulk_export.plan("statements", sync=True, records=90_000, changed=[f"statements={10}"])
    assert both.poll is not None
    assert both.poll.total < both.cost.total
    assert "--page-size 3000" in str(bulk_export.plan("statements", records=300_000).advice)


def test_plan_of_tenants(tmp_path: Path) -> None:
    """The cost of each tenant, without a token of any."""
    file = tmp_path / "tenants.toml"
    file.write_text("".join(f'[[tenant]]\nname = "{name}"\ntoken-file = "none"\n' for name in ("north", "south")))
    options = {"environment": "local", "records": 9_000}
    made = bulk_export.plan_tenants(file, "statements", sync=True, **options)  # type: ignore[arg-type]
    assert [*made.cost.tenants] == ["north", "south"]
    assert made.poll is not None
    assert made.poll.requests < made.cost.requests
    with pytest.raises(bulk_export.InvalidArgument, match="unexpected keyword argument 'like_it'"):
        bulk_export.plan_tenants(file, like_it=3)  # type: ignore[call-arg]


def test_budget(tmp_path: Path) -> None:
    """What an export sent counts, and nothing is on record where nothing was sent."""
    ledger = f"sqlite:///{tmp_path}/ledger"
    assert bulk_export.budget(budget=ledger) == []
    summary = bulk_export.run_export(
        "statements", environment="local", output=tmp_path / "out", page_size=3000, budget=ledger
    )
    used = bulk_export.budget(budget=ledger)
    assert used[0].used == summary.requests
    assert isinstance(used[0].limit, bulk_export.Limit)


async def test_endpoints_inside_a_running_loop(tmp_path: Path) -> None:
    """Endpoints with fields, and columns; a description may be in a file, or at an address."""
    assert [endpoint.name for endpoint in bulk_export.endpoints("statements", "npq-applications")] == [
        "statements",
        "npq-applications",
    ]
    assert bulk_export.endpoints(service="ecf", api_version="v1").version == "v1"
    schema = bulk_export.arrow_schema("statements")
    assert isinstance(schema, pa.Schema)
    assert schema.names[0] == "id"
    described = await bulk_export.describe(file_with_spec(tmp_path), name="boxes")
    (tmp_path / "mine.toml").write_text(described.toml)
    assert [endpoint.name for endpoint in bulk_export.endpoints(service=tmp_path / "mine.toml")] == ["boxes"]
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(settings())) as service:
        address = f"{service.base_url}/api/docs/v3/swagger.yaml"
        assert "statements" in {endpoint.name for endpoint in bulk_export.endpoints(service=address)}
    with pytest.raises(bulk_export.UsageError, match=r"no endpoint 'statement'\. Did you mean statements"):
        bulk_export.endpoints("statement")


def file_with_spec(directory: Path) -> Path:
    """A file in OpenAPI with one list."""
    record = {"type": "object", "properties": {"id": {"type": "string"}, "width": {"type": "integer"}}}
    body = {"application/json": {"schema": {"type": "array", "items": record}}}
    paths = {"/boxes": {"get": {"responses": {"200": {"description": "All", "content": body}}}}}
    file = directory / "openapi.json"
    file.write_text(json.dumps(spec(paths)))
    return file


def test_describe(tmp_path: Path) -> None:
    """The description that `bulk-export describe` prints, as a document and as text."""
    made = bulk_export.run_describe(file_with_spec(tmp_path), name="boxes")
    assert tomllib.loads(made.toml) == made.document
    assert made.document["name"] == "boxes"
    with pytest.raises(bulk_export.UsageError, match="cannot be read: No such file"):
        bulk_export.run_describe(tmp_path / "none.json")


async def test_check_endpoints() -> None:
    """The bundled service publishes what is described; another version of the description differs."""
    npq = load_service("npq")
    async with serving(settings()) as service:
        assert await bulk_export.check_endpoints(base_url=service.base_url) == []
        fewer = replace(npq, endpoints=npq.endpoints[:-1])
        changes = await bulk_export.check_endpoints(base_url=service.base_url, service=fewer)
    assert {(change.difference, change.what) for change in changes} == {("added", "endpoint")}
    with pytest.raises(bulk_export.InvalidArgument, match="unexpected keyword argument 'token'"):
        await bulk_export.check_endpoints(token=TOKEN)  # type: ignore[call-arg]


def test_check(tmp_path: Path) -> None:
    """The answers that `bulk-export check` gives, and the SQL of one."""
    write_export(
        tmp_path,
        npq_applications=[application("a", None)],
        participant_declarations=[declaration("d", "a"), declaration("e", "b")],
    )
    found = {result.check.name: result.found for result in bulk_export.check(tmp_path)}
    assert found == {"undecided": 1, "changed": 0, "unlinked": 1}
    assert "SELECT" in bulk_export.check_sql(tmp_path, "undecided")
    with pytest.raises(bulk_export.UsageError, match=r"no check 'other'\. Choose from"):
        bulk_export.check_sql(tmp_path, "other")


async def test_resume(tmp_path: Path) -> None:
    """An export that a callback stopped is found, and goes on by its directory and the token alone."""
    stop = anyio.Event()
    async with serving(settings()) as service:
        with pytest.raises(bulk_export.Interrupted):
            await bulk_export.export(
                "npq-applications",
                base_url=service.base_url,
                token=TOKEN,
                output=tmp_path / "out",
                page_size=50,
                on_progress=lambda event: stop.set() if isinstance(event, bulk_export.RunProgress) else None,
                stop=stop,
                **FREE,
            )
        assert bulk_export.unfinished(tmp_path) == [tmp_path / "out"]
        told: list[bulk_export.ProgressEvent] = []
        summary = await bulk_export.resume(tmp_path / "out", token=TOKEN, on_progress=told.append)
        assert summary.endpoints[0].records == len(list(service.truth("npq-applications")))
    assert summary.resumed == 1
    assert bulk_export.RunFinished(summary) == told[-1]
    assert bulk_export.unfinished(tmp_path) == []
    with pytest.raises(bulk_export.UsageError, match="holds a finished export"):
        await bulk_export.resume(tmp_path / "out")


async def test_failing_callback(tmp_path: Path) -> None:
    """A callback that raises keeps no export from ending whole."""

    def fails(event: bulk_export.ProgressEvent) -> None:
        raise ZeroDivisionError

    async with serving(settings()) as service:
        with pytest.warns(RuntimeWarning, match="ZeroDivisionError"):
            await bulk_export.export(
                "statements", base_url=service.base_url, token=TOKEN, output=tmp_path, on_progress=fails, **FREE
            )
    assert bulk_export.verify(tmp_path).rows == 37
