"""Typer parameters from declared options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from bulk_export.core.model import Endpoint
from bulk_export.errors import UsageError
from bulk_export.pipelines.declarations import Arity, Declaration, Source, declarations


def with_parameters(function: Callable[..., None], arguments: type) -> Callable[..., None]:
    """Give a function the declared options as parameters, in place of its `**line`.

    Typer reads the signature. The values are None (switches: False) for options that the line does not give, so that
    settings and defaults can take their place.
    """
    own = [
        parameter
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    declared = [
        _parameter(declaration)
        for declaration in declarations(arguments).values()
        if Source.LINE in declaration.option.sources
    ]
    cast("Any", function).__signature__ = inspect.Signature([*own, *declared])
    return function


def _parameter(declared: Declaration) -> inspect.Parameter:
    completion = _COMPLETIONS.get(declared.name) or _completed_from(declared.option.choices)
    shown: dict[str, Any] = {
        "help": declared.help,
        "metavar": declared.metavar,
        "autocompletion": completion,
        "rich_help_panel": declared.option.group.value,  # what Typer calls a group in the help
    }
    text = Path if Path in get_args(declared.type) else str  # shells complete paths
    types: dict[Arity, Any] = {Arity.SINGLE: text | None, Arity.MULTIPLE: list[str] | None, Arity.FLAG: bool}
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=False if declared.arity is Arity.FLAG else None,
        annotation=Annotated[
            types[declared.arity],
            typer.Argument(**shown) if declared.option.positional else typer.Option(*declared.flags, **shown),
        ],
    )


def _completed_from(choices: tuple[str, ...]) -> Callable[[str], list[str]] | None:
    if not choices:
        return None
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]


def complete_endpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the endpoints of the service and version that the line names so far."""
    return [endpoint.name for endpoint in _described(ctx) if endpoint.name.startswith(incomplete)]


def _counts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the endpoint of `ENDPOINT=N`."""
    return [f"{name}=" for name in complete_endpoints(ctx, incomplete)]


def _filters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a filter of the endpoints that the line names, or its value if the service lists values."""
    named = ctx.params.get("endpoints") or [ctx.params.get("endpoint")]
    listed = _described(ctx)
    chosen = [endpoint for endpoint in listed if endpoint.name in named] or listed
    filters = dict.fromkeys(f"{name}=" for endpoint in chosen for name in endpoint.filters)
    values = dict.fromkeys(
        f"{name}={value}" for endpoint in chosen for name, found in endpoint.filter_values for value in found
    )
    return [text for text in (values if "=" in incomplete else filters) if text.startswith(incomplete)]


def _described(ctx: typer.Context) -> tuple[Endpoint, ...]:
    from bulk_export.services.catalogue import built_in_services, load_service

    service, version = ctx.params.get("service") or "npq", ctx.params.get("api_version")
    try:
        return tuple(load_service(service, version)) if service in built_in_services() else ()
    except UsageError:
        return ()


def _services(incomplete: str) -> list[str]:
    from bulk_export.services.catalogue import built_in_services

    return [name for name in built_in_services() if name.startswith(incomplete)]


_COMPLETIONS: dict[str, Callable[..., list[str]]] = {
    "endpoints": complete_endpoints,
    "service": _services,
    "filter": _filters,
    "records": _counts,
    "changed": _counts,
}
