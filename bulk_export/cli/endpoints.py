"""`bulk-export endpoints`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show, show_lines
from bulk_export.errors import DescriptionOutdated, UsageError
from bulk_export.progress.console import one_line

if TYPE_CHECKING:
    from bulk_export.core.model import Endpoint, FieldType, Service


def endpoints(**line: Any) -> None:
    """List what a service offers: versions, endpoints, filters, sorts, and fields with their types."""
    options = prepare("endpoints", line).options

    from bulk_export.services.catalogue import choose_endpoints, load_service

    described = load_service(options["service"], options["api_version"])
    wants_json = options["json"]
    if options["check"]:
        _check(described, options, wants_json=wants_json)
        return
    if options["environment"] is not None or options["base_url"] is not None:
        raise UsageError("An address is of use to --check only.", next_step="Add --check, or leave the address out.")
    selected = choose_endpoints(described, options["endpoints"])
    if options["arrow_schema"]:
        _show_schemas(selected, wants_json=wants_json)
    elif wants_json:
        show(json.dumps(_as_json(described, selected), indent=2))
    else:
        _show(described, selected)


def _check(described: Service, options: dict[str, Any], *, wants_json: bool) -> None:
    """Raise DescriptionOutdated if the published description differs in a way that is not known already."""
    import dataclasses

    import anyio

    from bulk_export.pipelines.arguments import LOCAL
    from bulk_export.pipelines.declarations import declarations
    from bulk_export.pipelines.inspection_arguments import PublishedArguments
    from bulk_export.pipelines.option_parsing import base_url_of
    from bulk_export.pipelines.published import published_changes

    insecure = options["allow_plain_http"]
    url = base_url_of(described, options["environment"], options["base_url"], allow_plain_http=insecure)
    if options["endpoints"]:
        raise UsageError("--check compares all endpoints.", next_step="Leave the names out.")
    known = declarations(PublishedArguments)
    given = {name: value for name, value in options.items() if name in known}
    changes = anyio.run(lambda: published_changes(**(given | {"service": described})))
    if wants_json:
        shown = [dataclasses.asdict(change) for change in changes]
        show(json.dumps({"service": described.name, "version": described.version, "changes": shown}, indent=2))
    else:
        for change in changes:
            show_lines(one_line(str(change)))
    publisher = url or LOCAL
    if changes:
        raise DescriptionOutdated(
            f"{publisher} publishes {len(changes)} things differently from {described.name} {described.version} here.",
            next_step="No value is lost: a field without a column goes to _extra.",
        )
    if not wants_json:
        show_lines(f"{publisher} publishes what is described here: {described.name} {described.version}")


def _show(described: Service, chosen: tuple[Endpoint, ...]) -> None:
    from bulk_export.services.catalogue import built_in_services, service_versions

    show_lines(one_line(f"{described.title} ({described.name} {described.version})"))
    for name in built_in_services():
        if name == described.name:
            others = [version for version in service_versions(name) if version != described.version]
            show_lines(f"  other versions: {', '.join(others) or 'none'}")
    show_lines(f"  other services: {', '.join(name for name in built_in_services() if name != described.name)}")
    for endpoint in chosen:
        show_lines(
            "\n" + one_line(f"{endpoint.name}  {endpoint.path}" + ("  (csv)" if endpoint.format == "csv" else ""))
        )
        show_lines(one_line(f"  filters: {', '.join(_filters(endpoint)) or 'none'}"))
        show_lines(one_line(f"  sorts: {', '.join(endpoint.sorts) or 'none'}"))
        width = max((len(field.name) for field in endpoint.fields), default=0)
        for field in endpoint.fields:
            show_lines(one_line(f"  {field.name:<{width}}  {_text_type(field.type)}"))
    if described.left_out:
        show_lines("\nleft out:")
    for name, reason in described.left_out:
        show_lines(one_line(f"  {name}: {reason}"))


def _filters(endpoint: Endpoint) -> list[str]:
    types = dict(endpoint.filter_types)
    values = dict(endpoint.filter_values)
    return [
        f"{name} ({'|'.join(values.get(name, ())) or types.get(name, 'string')}"
        f"{', required' if name in endpoint.requires else ''})"
        for name in endpoint.filters
    ]


def _as_json(described: Service, chosen: tuple[Endpoint, ...]) -> dict[str, Any]:
    from bulk_export.services.catalogue import built_in_services, service_versions
    from bulk_export.services.field_types import fields_to_json

    return {
        "service": described.name,
        "version": described.version,
        "services": {name: list(service_versions(name)) for name in built_in_services()},
        "endpoints": [
            {
                "name": endpoint.name,
                "path": endpoint.path,
                "format": endpoint.format,
                "filters": list(endpoint.filters),
                "filter_types": dict(endpoint.filter_types),
                "filter_values": {name: list(words) for name, words in endpoint.filter_values},
                "requires": list(endpoint.requires),
                "sort": endpoint.sort,
                "sorts": list(endpoint.sorts),
                "fields": fields_to_json(endpoint.fields),
            }
            for endpoint in chosen
        ],
        "left_out": dict(described.left_out),
    }


def _show_schemas(chosen: tuple[Endpoint, ...], *, wants_json: bool) -> None:
    from bulk_export.transform.schema import arrow_schema, describe

    if wants_json:
        show(json.dumps({endpoint.name: describe(arrow_schema(endpoint)) for endpoint in chosen}, indent=2))
        return
    for number, endpoint in enumerate(chosen):
        columns = arrow_schema(endpoint)
        width = max(len(name) for name in columns.names)
        show_lines(("\n" if number else "") + one_line(endpoint.name))
        for column in columns:
            show_lines(one_line(f"  {column.name:<{width}}  {column.type}" + ("" if column.nullable else " not null")))


def _text_type(declared: FieldType) -> str:
    from bulk_export.core.model import fold_type

    return fold_type(
        declared,
        scalar=lambda kind: kind.value,
        list_of=lambda item: f"list of {item}",
        struct=lambda members: "{" + ", ".join(f"{name}: {member}" for name, member in members) + "}",
    )
