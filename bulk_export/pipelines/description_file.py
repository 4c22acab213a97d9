"""A description of a service made from its OpenAPI file, as the text of a file in TOML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
import tomli_w

from bulk_export.core.locations import local_path
from bulk_export.core.text import printable
from bulk_export.errors import UsageError
from bulk_export.pipelines.remote_descriptions import fetch_document, is_address
from bulk_export.progress.console import one_line
from bulk_export.services.catalogue import read_description
from bulk_export.services.openapi import LARGEST_SPEC, parse_spec
from bulk_export.services.openapi import describe as description_of

_HEADER = """\
# Made from {source}. Check and correct what it cannot know: `order` and
# `order_is_total` (whether rows of equal keys come in a fixed order), `since`, the largest page, and [limits].
"""


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """A description that was made from an OpenAPI file.

    Attributes:
        document: The description, as the TOML holds it.
        remarks: What was assumed, what could not be described, and what is left out.
        toml: The text of a file for `--service`, with the remarks as comments.
    """

    document: Mapping[str, Any]
    remarks: tuple[str, ...]
    toml: str


async def describe_spec(
    spec: str | os.PathLike[str],
    name: str | None = None,
    *,
    allow_plain_http: bool = False,
    ca_file: Path | None = None,
) -> ServiceDescription:
    """Make a description from an OpenAPI file.

    Args:
        spec: The file, or its address.
        name: Name of the service; from its title by default.
        allow_plain_http: Whether it may be fetched unencrypted from beyond this machine.
        ca_file: Certificates of additional authorities to trust.

    Raises:
        UsageError: The file cannot be read, or describes no list.
        ServiceFailing: There was no response.
        ServiceRefused: The response was an error.
    """
    source = os.fspath(spec)
    address = source if is_address(source) else None
    if address is not None:
        content = await fetch_document(address, allow_plain_http=allow_plain_http, ca_file=ca_file)
    else:
        content = await anyio.to_thread.run_sync(_content, source)
    return await anyio.to_thread.run_sync(_description, content, source, name, address)


def _content(spec: str) -> bytes:
    try:
        with local_path(spec, "describe").open("rb") as file:
            return file.read(LARGEST_SPEC + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UsageError(f"{spec} cannot be read: {reason}.", next_step="Name an OpenAPI file.") from None


def _description(content: bytes, source: str, name: str | None, address: str | None) -> ServiceDescription:
    described = description_of(parse_spec(content, source), source, service=name, address=address)
    read_description(described.document, None)  # fails if the output could not be used as it is
    remarks = (*described.remarks, *described.left_out)
    comments = "".join(f"# Note: {one_line(remark)}.\n" for remark in remarks)
    # The escapes are those of TOML, so they are read back as the characters that they stand for.
    document = "\n".join(map(printable, tomli_w.dumps(described.document).split("\n")))
    return ServiceDescription(
        described.document, remarks, _HEADER.format(source=one_line(source)) + comments + "\n" + document
    )
