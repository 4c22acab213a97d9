"""What a service publishes about its API, compared with the description at hand. No token is sent."""

from __future__ import annotations

from typing import Unpack

from bulk_export.extract.certificates import ca_file_of
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.inspection_arguments import PublishedArguments
from bulk_export.pipelines.option_parsing import base_url_of
from bulk_export.pipelines.remote_descriptions import fetch_published, fetch_published_locally
from bulk_export.services.catalogue import load_service
from bulk_export.services.openapi import Change, compare, unexpected_changes


async def published_changes(**options: Unpack[PublishedArguments]) -> list[Change]:
    """Fetch the OpenAPI file of a service, and return where it differs from the description, beyond what is known.

    Args:
        **options: The options of `bulk-export endpoints --check` with underscores.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        ServiceFailing: There was no response.
        ServiceRefused: The response was an error.
    """
    given = with_defaults(PublishedArguments, options)
    described = load_service(given["service"], given["api_version"])
    insecure = given["allow_plain_http"]
    url = base_url_of(described, given["environment"], given["base_url"], allow_plain_http=insecure)
    published = (
        await fetch_published_locally(described)
        if url is None
        else await fetch_published(described, url, allow_plain_http=insecure, ca_file=ca_file_of(given["ca_file"]))
    )
    return unexpected_changes(described, compare(described, published))
