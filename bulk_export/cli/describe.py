"""`bulk-export describe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin
from bulk_export.core.text import printable
from bulk_export.errors import UsageError
from bulk_export.progress.console import one_line

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="An OpenAPI 3.0 or 3.1 file, or its address.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the service. (from its title)")]

_HEADER = """\
# Made from {source}. Check and correct what it cannot know: `order` and
# `order_is_total` (whether rows of equal keys come in a fixed order), `since`, the largest page, and [limits].
"""


def describe(
    spec: Spec,
    name: Name = None,
    allow_plain_http: p.AllowPlainHttp = False,
    ca_file: p.CaFile = None,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """Print a description of a service in TOML, made from its OpenAPI file, to save, correct and pass to --service."""
    line = {"name": name, "allow_plain_http": allow_plain_http, "ca_file": ca_file}
    line |= {"log_format": log_format, "debug": debug}
    options, console, _ = begin("describe", line, p.DESCRIBE, config)

    import tomli_w

    from bulk_export.services.catalogue import read_description
    from bulk_export.services.openapi import describe as description_of
    from bulk_export.services.openapi import parse_spec

    content = _content(spec, allow_plain_http=options.get("allow_plain_http", False), ca_file=options.get("ca_file"))
    address = spec if "://" in spec else None
    described = description_of(parse_spec(content, spec), spec, service=options.get("name"), address=address)
    read_description(described.document, None)  # what is printed can be used as it is
    remarks = (*described.remarks, *described.left_out)
    comments = "".join(f"# Note: {one_line(remark)}.\n" for remark in remarks)
    for remark in remarks:
        console.line(one_line(remark), level="warning")
    # Escapes of TOML, which read back as what they stand for.
    document = "\n".join(map(printable, tomli_w.dumps(described.document).split("\n")))
    typer.echo(_HEADER.format(source=one_line(spec)) + comments + "\n" + document, nl=False)


def _content(spec: str, *, allow_plain_http: bool, ca_file: str | None) -> bytes:
    if "://" in spec:
        import anyio

        from bulk_export.extract.certificates import ca_file_of
        from bulk_export.pipelines.remote_descriptions import fetch_document

        trusted = ca_file_of(ca_file)
        return anyio.run(lambda: fetch_document(spec, allow_plain_http=allow_plain_http, ca_file=trusted))
    from bulk_export.services.openapi import LARGEST_SPEC

    try:
        with Path(spec).open("rb") as file:
            return file.read(LARGEST_SPEC + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise UsageError(f"{spec} cannot be read: {reason}.", next_step="Name an OpenAPI file.") from None
