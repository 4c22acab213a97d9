"""`bulk-export describe`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.progress.console import one_line

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="An OpenAPI 3.0 or 3.1 file, or its address.")]


def describe(spec: Spec, **line: Any) -> None:
    """Print a description of a service in TOML, made from its OpenAPI file, to save, correct and pass to --service."""
    prepared = prepare("describe", line)
    options = prepared.options

    import anyio

    from bulk_export.extract.certificates import ca_file_of
    from bulk_export.pipelines.description_file import describe_spec

    ca_file = ca_file_of(options["ca_file"]) if "://" in spec else None
    described = anyio.run(
        lambda: describe_spec(spec, options["name"], allow_plain_http=options["allow_plain_http"], ca_file=ca_file)
    )
    for remark in described.remarks:
        prepared.console.line(one_line(remark), level="warning")
    show(described.toml.removesuffix("\n"))
