"""`bulk-export describe`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.core.locations import local_path
from bulk_export.core.text import printable
from bulk_export.errors import UsageError
from bulk_export.progress.console import one_line

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="An OpenAPI 3.0 or 3.1 file, or its address.")]

_HEADER = """\
# Made from {source}. Check and correct what it cannot know: `order` and
# `order_is_total` (whether rows of equal keys come in a fixed order), `since`, the largest page, and [limits].
"""


def describe(spec: Spec, **line: Any) -> None:
    """Print a description of a service in TOML, made from its OpenAPI file, to save, correct and pass to --service."""
    prepared = prepare("describe", line)
    options, console = prepared.options, prepared.console

    import tomli_w

    from bulk_export.services.catalogue import read_description
    from bulk_export.services.openapi import describe as description_of
    from bulk_export.services.openapi import parse_spec

    content = _content(spec, allow_plain_http=options["allow_plain_http"], ca_file=options["ca_file"])
    address = spec if "://" in spec else None
    described = description_of(parse_spec(content, spec), spec, service=options["name"], address=address)
    read_description(described.document, None)  # fails if the output could not be used as it is
    remarks = (*described.remarks, *described.left_out)
    comments = "".join(f"# Note: {one_line(remark)}.\n" for remark in remarks)
    for remark in remarks:
        console.line(one_line(remark), level="warning")
    # The escapes are those of TOML, so they are read back as the characters that they stand for.
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
        with local_path(spec, "describe").open("rb") as file:
            return file.read(LARGEST_SPEC + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UsageError(f"{spec} cannot be read: {reason}.", next_step="Name an OpenAPI file.") from None
