"""Services known by what they publish: described, checked and exported over HTTP, from files and addresses."""

from __future__ import annotations

import gzip
import json
import subprocess
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from aiohttp import web

import bulk_export
from bulk_export.core.model import Field, Kind, Service
from bulk_export.errors import BulkExportError, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.remote_descriptions import fetch_document, fetch_published, fetch_service
from bulk_export.services.catalogue import load_service, read_description
from bulk_export.services.local import LocalService, serving
from bulk_export.services.openapi import (
    compare,
    describe,
    openapi_document,
    openapi_yaml,
    parse_spec,
    unexpected_changes,
)
from tests.support.exporting import NPQ, QUICK, TOKEN, options, settings
from tests.support.warm_command import run_warm

FEW = dict.fromkeys([endpoint.name for endpoint in NPQ], 40)


@asynccontextmanager
async def answering(respond: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[str]:
    """A server that answers every request in one way; its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return respond(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    surroundings = {"PATH": "", "BULK_EXPORT_TOKEN": TOKEN, "HOME": str(cwd)}
    return await anyio.to_thread.run_sync(lambda: run_warm(arguments, cwd=cwd, env=surroundings))


def ids(output: Path, name: str) -> list[str]:
    texts = [file.read_text() for file in sorted((output / name).glob("*.ndjson"))]
    return [json.loads(line)["id"] for text in texts for line in text.split("\n") if line]


async def exported_everything(service: LocalService, output: Path, described: Service | str) -> None:
    summary = await bulk_export.export(
        base_url=service.base_url,
        token=TOKEN,
        output=output,
        service=described,
        format="ndjson",
        budget="memory://",
        min_interval=0,
        page_size=30,
        service_limit="100000/1s",
        ip_limit="100000/1s",
    )
    assert {endpoint.path for endpoint in load_service("npq")} == {
        endpoint.path for endpoint in service.settings.service
    }
    for endpoint in summary.endpoints:
        truth = [record["id"] for record in service.truth(endpoint.name)]
        assert sorted(ids(output, endpoint.name)) == sorted(truth), endpoint.name
    assert len(summary.endpoints) == len(service.settings.service.endpoints)


async def test_published_description_is_exportable(tmp_path: Path) -> None:
    """A published specification describes a service of which every record can be exported."""
    async with serving(settings(records_by_endpoint=FEW)) as service:
        await exported_everything(service, tmp_path / "fetched", f"{service.base_url}/api/docs/v3/swagger.yaml")
        (tmp_path / "npq.yaml").write_bytes(openapi_yaml(NPQ))
        printed = await run("describe", "npq.yaml", cwd=tmp_path)
        assert (printed.returncode, printed.stderr) == (0, "")
        (tmp_path / "mine.toml").write_text(printed.stdout)
        await exported_everything(service, tmp_path / "described", str(tmp_path / "mine.toml"))
        assert compare(NPQ, load_service(str(tmp_path / "mine.toml"))) == []


async def test_spec_is_fetched_without_token(tmp_path: Path) -> None:
    """The specification is fetched without the token, and read from any kind of file."""
    seen: list[str | None] = []

    def respond(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        body = json.dumps(openapi_document(NPQ)).encode() if "json" in request.path else openapi_yaml(NPQ)
        if request.path.endswith(".toml"):
            return web.Response(text='name = "boxes"\n[versions.v1.all]\npath = "/boxes"\n')
        return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})

    async with answering(respond) as address:
        for path in ("/spec.yaml", "/spec.json", "/openapi?version=3", "/v3/openapi/json"):
            assert compare(NPQ, await fetch_service(address + path)) == []
        assert (await fetch_service(f"{address}/boxes.toml")).name == "boxes"
    assert seen == [None] * 5


@pytest.mark.parametrize(
    ("respond", "kind", "said"),
    [
        (lambda _: web.Response(status=404), ServiceRefused, "answered with 404"),
        (lambda _: web.Response(status=302, headers={"Location": "https://e.example/"}), ServiceRefused, "redirect to"),
        (lambda _: web.Response(body=b"x" * (16 * 1024 * 1024 + 1)), ServiceFailing, "more than 16,777,216 bytes"),
        (
            lambda _: web.Response(
                body=gzip.compress(b" " * 50_000_000), headers={"Content-Encoding": "gzip"}, content_type="text/yaml"
            ),
            ServiceFailing,
            "inflates beyond the size cap",
        ),
        (lambda _: web.Response(text="<html>sign in</html>"), UsageError, "neither JSON nor YAML|not an OpenAPI file"),
    ],
    ids=["missing", "redirected", "huge", "bomb", "HTML"],
)
async def test_unavailable_spec_is_named(
    respond: Callable[[web.Request], web.StreamResponse], kind: type[BulkExportError], said: str
) -> None:
    """The message about a specification that cannot be fetched names its address."""
    async with answering(respond) as address:
        with pytest.raises(kind, match=said) as refused:
            await fetch_service(f"{address}/spec.yaml")
        assert f"{address}/spec.yaml" in refused.value.what


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://example.org/spec.yaml", "could be changed in transit"),
        ("ftp://example.org/spec.yaml", "not an http or https address"),
        ("https://user:secret@example.org/spec.yaml", "user name or password"),
        ("https:///spec.yaml", "not an"),
    ],
)
async def test_unsafe_addresses_are_refused(address: str, said: str) -> None:
    """Unsafe addresses are refused before anything is sent."""
    with pytest.raises(UsageError, match=said) as refused:
        await fetch_document(address)
    assert "secret" not in refused.value.what


@pytest.mark.parametrize(
    ("name", "version"), [("npq", "v1"), ("npq", "v2"), ("npq", "v3"), ("ecf", "v1"), ("ecf", "v3")]
)
async def test_built_in_services_publish_descriptions(name: str, version: str) -> None:
    """Every built-in service publishes what is described."""
    described = load_service(name, version)
    async with serving(settings(service=described, records_by_endpoint={}, records=0)) as service:
        published = await fetch_published(described, service.base_url)
        assert unexpected_changes(described, compare(described, published)) == []
        assert service.log[0].query == ""


def changed() -> Service:
    """A version of the service in which something of each kind is different."""
    first, second, *others = NPQ.endpoints
    kept = [field for field in first.fields if field.name != "email"]
    fields = [replace(field, type=Kind.INTEGER) if field.name == "cohort" else field for field in kept]
    first = replace(
        first,
        fields=(*fields, Field("middle_name", Kind.STRING)),
        filters=("cohort", "updated_since", "course"),
        filter_types=(("cohort", "years"), ("updated_since", "timestamp"), ("course", "string")),
        sorts=("created_at",),
    )
    return replace(NPQ, endpoints=(first, *others, replace(second, name="people", path="/api/v3/people")))


async def test_check_reports_differences(tmp_path: Path) -> None:
    """A check reports where the published API differs."""
    async with serving(settings(service=changed(), records_by_endpoint={}, records=0)) as service:
        line = ("endpoints", "--check", "--base-url", service.base_url)
        shown = await run(*line, cwd=tmp_path)
        listed = await run(*line, "--json", cwd=tmp_path)
    assert shown.returncode == listed.returncode == 6
    lines = shown.stdout.splitlines()
    assert lines == [
        "removed: endpoint participants-npq",
        "added: endpoint people",
        "removed: field npq-applications email (string)",
        "changed: field npq-applications cohort is integer in the published description, string here",
        "added: field npq-applications middle_name (string)",
        "removed: filter npq-applications participant_id (uuids)",
        "added: filter npq-applications course (string)",
        "removed: sort npq-applications -created_at",
        "removed: sort npq-applications updated_at",
        "removed: sort npq-applications -updated_at",
    ]
    changes = json.loads(listed.stdout)["changes"]
    assert len(changes) == len(lines)
    assert {"difference": "removed", "what": "endpoint", "endpoint": "participants-npq"}.items() <= changes[0].items()
    assert "publishes 10 things differently" in shown.stderr


async def test_check_without_differences(tmp_path: Path) -> None:
    """A check that finds nothing is exit code 0, and needs no token."""
    async with serving(settings(records_by_endpoint={}, records=0)) as service:
        same = await run("endpoints", "--check", "--base-url", service.base_url, cwd=tmp_path)
    assert (same.returncode, same.stderr) == (0, "")
    assert "publishes what is described here: npq v3" in same.stdout
    for line, said in (
        (["--check"], "--environment and --base-url are both missing"),
        (["--base-url", "https://example.org"], "of use to --check only"),
        (["statements", "--check", "--environment", "local"], "compares all endpoints"),
    ):
        refused = await run("endpoints", *line, cwd=tmp_path)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


async def test_endpoints_shows_everything(tmp_path: Path) -> None:
    """`endpoints` shows services, versions, filters, sorts and Arrow types."""
    table = (await run("endpoints", "schools-ecf", "--service", "ecf", cwd=tmp_path)).stdout
    assert "Early Career Framework (ecf v3)\n  other versions: v1, v2\n  other services: ect, npq\n" in table
    assert "  filters: cohort (years, required), urn (string), updated_since (timestamp)\n" in table
    assert "  sorts: updated_at, -updated_at\n" in table
    assert "delivery-partners" not in table
    shown = json.loads((await run("endpoints", "--json", "--api-version", "v2", cwd=tmp_path)).stdout)
    assert shown["services"] == {"ecf": ["v3", "v1", "v2"], "ect": ["v3"], "npq": ["v3", "v1", "v2"]}
    formats = {endpoint["name"]: endpoint["format"] for endpoint in shown["endpoints"]}
    assert (formats["npq-enrolments"], formats["participants-npq"]) == ("csv", "json")
    schema = json.loads((await run("endpoints", "statements", "--arrow-schema", "--json", cwd=tmp_path)).stdout)
    assert {"name": "cut_off_date", "type": "date32[day]"} in schema["statements"]
    text = (await run("endpoints", "statements", "--arrow-schema", cwd=tmp_path)).stdout
    assert "  id            string not null\n" in text


async def test_plan_counts_filtered_endpoints(tmp_path: Path) -> None:
    """A plan counts endpoints that need a filter, too."""
    shown = await run("plan", "schools-ecf", "--service", "ecf", "--records", "900", "--json", cwd=tmp_path)
    assert json.loads(shown.stdout)["requests"] == {"schools-ecf": 4}


async def test_describe_says_what_it_left_out(tmp_path: Path) -> None:
    """`describe` says what it left out, and refuses what it cannot read."""
    document = openapi_document(NPQ)
    record = {"type": "array", "items": {"type": "object", "properties": {"code": {"type": "string"}}}}
    answer = {"description": "OK", "content": {"application/json": {"schema": record}}}
    document["paths"]["/api/v3/boxes/{id}/codes"] = {"get": {"responses": {"200": answer}}}
    (tmp_path / "spec.json").write_text(json.dumps(document))
    printed = await run("describe", "spec.json", "--name", "Boxes & Lids", cwd=tmp_path)
    assert printed.returncode == 0
    left_out = "/api/v3/boxes/{id}/codes is left out: its path needs id"
    assert left_out in printed.stderr
    assert "# Note: " + left_out in printed.stdout
    described = read_description(tomllib.loads(printed.stdout), None)
    assert described.name == "boxes-lids"
    assert described == replace(read_description(describe(document, "x").document, None), name="boxes-lids")
    (tmp_path / "other.yaml").write_text("swagger: '2.0'")
    for name, said in (("other.yaml", "not an OpenAPI file"), ("none.yaml", "cannot be read"), (".", "cannot be")):
        refused = await run("describe", name, cwd=tmp_path)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


async def test_sort_and_filters_reach_the_service(tmp_path: Path) -> None:
    """A chosen sort and checked filters reach the service."""
    async with serving(settings(records_by_endpoint=FEW)) as service:
        changes: dict[str, Any] = {"sort": "-created_at", "filter": {"cohort": "2021, 2022"}, "format": "ndjson"}
        await export(options(service, tmp_path / "out", "npq-applications", **changes), tuning=QUICK)
        assert {"sort=-created_at,id", "filter[cohort]=2021,2022"} <= set(service.log[0].query.split("&"))
        exported = ids(tmp_path / "out", "npq-applications")
        truth = list(service.truth("npq-applications"))
    wanted = [record for record in truth if record["attributes"]["cohort"] in ("2021", "2022")]
    wanted.sort(key=lambda record: record["attributes"]["created_at"][:19], reverse=True)
    assert sorted(exported) == sorted(record["id"] for record in wanted)
    assert exported[0] in {record["id"] for record in wanted[:7]}
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["parameters"]["sort"] == "-created_at"


async def test_edited_description_does_not_resume(tmp_path: Path) -> None:
    """An edited description does not go on with the pages of another one.

    Stored pages are converted by the description they were asked for with.
    """
    async with serving(settings(records_by_endpoint=FEW, error_rate=1.0)) as service:
        with pytest.raises(ServiceFailing):
            await export(options(service, tmp_path / "out", "statements", retries=0), tuning=QUICK)
        edited = replace(NPQ, endpoints=tuple(replace(one, fields=one.fields[1:]) for one in NPQ))
        with pytest.raises(UsageError):
            await export(options(service, tmp_path / "out", "statements", retries=0, service=edited), tuning=QUICK)


def test_the_spec_of_a_service_is_plain_yaml() -> None:
    assert openapi_yaml(NPQ).startswith(b"openapi: 3.0.1\n")
    assert parse_spec(openapi_yaml(NPQ), "spec") == openapi_document(NPQ)
