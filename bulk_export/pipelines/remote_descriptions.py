"""Descriptions and OpenAPI documents fetched over HTTP, without a token and under a size cap."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlsplit

from bulk_export.core.masking import without_password
from bulk_export.core.model import Service
from bulk_export.core.urls import check_base_url, is_loopback
from bulk_export.errors import ServiceFailing, ServiceRefused, UsageError
from bulk_export.extract.certificates import ca_file_of
from bulk_export.extract.client import HttpClient
from bulk_export.extract.response import Response
from bulk_export.services.catalogue import LARGEST_FILE, read_description, read_service
from bulk_export.services.openapi import describe, parse_spec

T = TypeVar("T", bound=Mapping[str, object])

_ACCEPT = "application/yaml, application/json;q=0.9, */*;q=0.5"


def is_address(name: str) -> bool:
    """Whether `name` is an address, and not the name of a service or of a file."""
    return "://" in name


async def with_fetched_service(options: T) -> T:
    """Fetch the service if the options name the address of its description, and put it in place of the address."""
    name = options.get("service")
    if not isinstance(name, str) or not is_address(name):
        return options
    given: Mapping[str, Any] = options
    service = await fetch_service(
        name,
        given.get("api_version"),
        allow_plain_http=bool(given.get("allow_plain_http", False)),
        ca_file=ca_file_of(given.get("ca_file")),
    )
    return cast("T", {**given, "service": service})


async def fetch_service(
    url: str, version: str | None = None, *, allow_plain_http: bool = False, ca_file: Path | None = None
) -> Service:
    """Fetch a description or an OpenAPI document, and return the service that it describes.

    Args:
        url: Its address.
        version: The version of the API, if the document describes several.
        allow_plain_http: Whether the address may begin with http://.
        ca_file: Certificate authorities to trust beside those of the system.

    Raises:
        UsageError: The address cannot be used, or the document describes no service.
        ServiceFailing: There was no response.
        ServiceRefused: The response was an error.
    """
    content = await fetch_document(url, allow_plain_http=allow_plain_http, ca_file=ca_file)
    return read_service(content, without_password(url), version, address=url)


async def fetch_published(
    service: Service, base_url: str, *, allow_plain_http: bool = False, ca_file: Path | None = None
) -> Service:
    """Fetch the OpenAPI document that the service at `base_url` publishes, and return what it describes.

    The version is that of `service`, if the document describes it. Raises as `fetch_service` does.
    """
    url = base_url + service.spec_path.replace("{version}", quote(service.version))
    spec = parse_spec(await fetch_document(url, allow_plain_http=allow_plain_http, ca_file=ca_file), url)
    identifiers = {endpoint.path: endpoint.shape.id[-1] for endpoint in service if endpoint.shape.id}
    described = describe(spec, url, service=service.name, identifiers=identifiers)
    versions = described.document["versions"]
    return read_description(described.document, service.version if service.version in versions else None)


async def fetch_published_locally(service: Service) -> Service:
    """Return what the bundled service publishes when it plays the part of `service`."""
    from bulk_export.services.local import LocalServiceSettings, serving

    async with serving(LocalServiceSettings(service=service, token="")) as local:
        return await fetch_published(service, local.base_url)


async def fetch_document(url: str, *, allow_plain_http: bool = False, ca_file: Path | None = None) -> bytes:
    """Fetch a document. No token is sent, and no redirect is followed. Raises as `fetch_service` does."""
    address, _, query = url.partition("?")
    shown = without_password(url)
    parts = urlsplit(check_base_url(address, allow_plain_http=True, option="The address", shown=shown))
    if parts.scheme == "http" and not allow_plain_http and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"Content from http://{parts.hostname} could be changed in transit.",
            next_step="Use https, or fetch the file and name that.",
        )
    target = (parts.path or "/") + (f"?{quote(query, safe='=&%/:,+[]')}" if query else "")
    async with HttpClient(f"{parts.scheme}://{parts.netloc}", None, body_cap=LARGEST_FILE, ca_file=ca_file) as client:
        response = await client.get(target, accept=_ACCEPT)
    if not isinstance(response, Response):
        raise ServiceFailing(
            f"{shown} could not be fetched: {response.reason}.",
            next_step=response.advice or "Try again, or name a file.",
        )
    if response.status != 200:
        raise ServiceRefused(
            f"The request for {shown} was answered with {response.status}"
            + (f": {response.message}." if response.message else "."),
            next_step="Check the address, or name a file.",
        )
    return response.body
