"""Typer parameters from declared options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

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


def _endpoints(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the endpoints of the service and version that the line names so far."""
    from bulk_export.services.catalogue import built_in_services, load_service

    service, version = ctx.params.get("service") or "npq", ctx.params.get("api_version")
    try:
        described = load_service(service, version) if service in built_in_services() else ()
    except UsageError:
        return []
    return [endpoint.name for endpoint in described if endpoint.name.startswith(incomplete)]


def _services(incomplete: str) -> list[str]:
    from bulk_export.services.catalogue import built_in_services

    return [name for name in built_in_services() if name.startswith(incomplete)]


_COMPLETIONS: dict[str, Callable[..., list[str]]] = {"endpoints": _endpoints, "service": _services}
