"""What a service offers and nobody described is named, and nothing that a spec says deceives a reader."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import anyio.to_thread
from aiohttp import web

from bulk_export.pipelines.export import export
from bulk_export.pipelines.remote_descriptions import fetch_published
from bulk_export.services.catalogue import load_service, read_description
from bulk_export.services.local import serving
from bulk_export.services.openapi import describe, openapi_yaml
from tests.support.exporting import NPQ, QUICK, options, settings
from tests.support.heard_warnings import HeardWarnings
from tests.support.specs import listing, query, spec
from tests.support.warm_command import run_warm
from tests.support.web_server import web_server

DECEIVING = "\u202egnp\u2066\u2028\x9b2J"


async def test_left_out_lists_are_named(tmp_path: Path) -> None:
    """An export of everything names the lists that it lacks, at its end and in the manifest."""
    lists = (("/api/v3/npq-applications/{id}/notes", "its path needs id"),)
    service = replace(NPQ, left_out=lists)
    few = dict.fromkeys([endpoint.name for endpoint in NPQ], 3)
    async with serving(settings(service=service, records_by_endpoint=few)) as served:
        everything, named = HeardWarnings(), HeardWarnings()
        await export(options(served, tmp_path / "all", service=service), everything, tuning=QUICK)
        await export(options(served, tmp_path / "one", "statements", service=service), named, tuning=QUICK)
    said = "1 list was not exported: /api/v3/npq-applications/{id}/notes (its path needs id)"
    assert (everything.warnings, named.warnings) == ([said], [])
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("all", "one")]
    assert [manifest.get("not_exported") for manifest in manifests] == [dict(lists), None]


async def test_spec_is_escaped_for_terminals(tmp_path: Path) -> None:
    """Nothing in a specification reaches a terminal unescaped."""
    state = query(f"state{DECEIVING}", type="string", enum=["new", f"old{DECEIVING}"])
    paths = {"/boxes": listing(query("page"), query("size"), state), f"/lids/{{id}}/{DECEIVING}": listing()}
    document = spec(paths, info={"title": f"Boxes{DECEIVING}", "version": "1"})
    (tmp_path / "spec.json").write_text(json.dumps(document))

    async def run(*arguments: str) -> str:
        finished = await anyio.to_thread.run_sync(
            lambda: run_warm(arguments, cwd=tmp_path, env={"HOME": str(tmp_path)})
        )
        shown: str = finished.stdout + finished.stderr
        assert all(line.isprintable() for line in shown.split("\n")), ascii(shown)
        return finished.stdout

    printed = await run("describe", "spec.json")
    assert tomllib.loads(printed) == describe(document, "x").document
    assert "\\u202egnp" in await run("endpoints", "--service", "spec.json")
    await run("endpoints", "--service", "spec.json", f"{DECEIVING}")


async def test_left_out_lists_are_listed(tmp_path: Path) -> None:
    """Left-out lists are listed beside the endpoints."""
    document = spec({"/boxes": listing(query("page"), query("size")), "/boxes/{id}/lids": listing()})
    (tmp_path / "spec.json").write_text(json.dumps(document))
    shown = await anyio.to_thread.run_sync(
        lambda: run_warm(["endpoints", "--service", "spec.json", "--json"], cwd=tmp_path, env={"HOME": str(tmp_path)})
    )
    assert json.loads(shown.stdout)["left_out"] == {"/boxes/{id}/lids": "its path needs id"}


async def test_description_is_fetched_where_published() -> None:
    """Each service is asked for its description where it publishes it."""
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=openapi_yaml(NPQ))

    async with web_server(answer) as address:
        for service in (load_service("ecf"), NPQ):
            await fetch_published(service, address)
    assert asked == ["/lead-providers/api-docs/v3/api_spec.yml", "/api/docs/v3/swagger.yaml"]
    own = read_description({"name": "boxes", "spec": "/{version}.yaml", "versions": {"v1": {}}}, None)
    assert own.spec_path == "/{version}.yaml"
