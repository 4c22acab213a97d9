"""`bulk-export verify` and `bulk-export endpoints`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bulk_export.cli import parameters as p
from bulk_export.cli.running import begin
from bulk_export.errors import UsageError
from bulk_export.model import FieldType, Kind, ListOf
from bulk_export.progress.console import one_line

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A finished export.")]


def verify(
    directory: Directory, log_format: p.LogFormat = None, debug: p.Debug = False, config: p.Config = None
) -> None:
    """Check a finished export against its manifest: read every file, recompute hashes and row counts."""
    begin("verify", {"log_format": log_format, "debug": debug}, p.OUTPUT, config)
    try:
        reason = "" if directory.is_dir() else "is not a directory"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    if reason:
        raise UsageError(f"{directory} {reason}.", next_step="Name the directory of a finished export.")

    from bulk_export.verification import verify as check

    checked = check(directory)
    counts = f"{checked.files} files, {checked.rows:,} rows, {checked.bytes:,} bytes"
    typer.echo(f"{one_line(str(directory))}: {counts}, as the manifest says")


def endpoints(
    service: p.Service = None,
    api_version: p.ApiVersion = None,
    as_json: p.AsJson = False,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """List what a service offers: endpoints, filters, and fields with their types."""
    line = {"service": service, "api_version": api_version, "json": as_json, "log_format": log_format, "debug": debug}
    options, _, _ = begin("endpoints", line, p.ENDPOINTS, config)

    from bulk_export.catalogue import load_service

    described = load_service(options.get("service", "npq"), options.get("api_version"))
    if options.get("json", False):
        listed = [
            {
                "name": endpoint.name,
                "path": endpoint.path,
                "filters": list(endpoint.filters),
                "sort": endpoint.sort,
                "fields": {field.name: _json_type(field.type) for field in endpoint.fields},
            }
            for endpoint in described
        ]
        typer.echo(json.dumps({"service": described.name, "version": described.version, "endpoints": listed}, indent=2))
        return
    typer.echo(f"{described.title} ({described.name} {described.version})")
    for endpoint in described:
        typer.echo(f"\n{endpoint.name}  {endpoint.path}")
        typer.echo(f"  filters: {', '.join(endpoint.filters) or 'none'}")
        width = max(len(field.name) for field in endpoint.fields)
        for field in endpoint.fields:
            typer.echo(f"  {field.name:<{width}}  {_text_type(field.type)}")


def _json_type(declared: FieldType) -> Any:
    if isinstance(declared, Kind):
        return declared.value
    if isinstance(declared, ListOf):
        return [_json_type(declared.item)]
    return {field.name: _json_type(field.type) for field in declared.fields}


def _text_type(declared: FieldType) -> str:
    if isinstance(declared, Kind):
        return declared.value
    if isinstance(declared, ListOf):
        return f"list of {_text_type(declared.item)}"
    return "{" + ", ".join(f"{field.name}: {_text_type(field.type)}" for field in declared.fields) + "}"
