"""Descriptions and published specs from an address, fetched without a token and under a cap."""

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
    """Whether a service is named by an address, not by its name or a file."""
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
    """The service that a description or an OpenAPI file at an address describes.

    Raises UsageError, and ServiceFailing or ServiceRefused where it cannot be had.
    """
    content = await fetch_document(url, allow_plain_http=allow_plain_http, ca_file=ca_file)
    return read_service(content, without_password(url), version, address=url)


async def fetch_published(
    service: Service, base_url: str, *, allow_plain_http: bool = False, ca_file: Path | None = None
) -> Service:
    """What the service at an address publishes of itself, in the version at hand.

    Raises UsageError, and ServiceFailing or ServiceRefused where it cannot be had.
    """
    url = base_url + service.spec_path.replace("{version}", quote(service.version))
    spec = parse_spec(await fetch_document(url, allow_plain_http=allow_plain_http, ca_file=ca_file), url)
    identifiers = {endpoint.path: endpoint.shape.id[-1] for endpoint in service if endpoint.shape.id}
    described = describe(spec, url, service=service.name, identifiers=identifiers)
    versions = described.document["versions"]
    return read_description(described.document, service.version if service.version in versions else None)


async def fetch_published_locally(service: Service) -> Service:
    """What the bundled service publishes of the described one."""
    from bulk_export.services.local import LocalServiceSettings, serving

    async with serving(LocalServiceSettings(service=service, token="")) as local:
        return await fetch_published(service, local.base_url)


async def fetch_document(url: str, *, allow_plain_http: bool = False, ca_file: Path | None = None) -> bytes:
    """What stands at an address. No token is sent, and no redirect followed."""
    address, _, query = url.partition("?")
    shown = without_password(url)
    parts = urlsplit(check_base_url(address, allow_plain_http=True, option="The address", shown=shown))
    if parts.scheme == "http" and not allow_plain_http and not is_loopback(parts.hostname or ""):
        raise UsageError(
            f"What comes from http://{parts.hostname} could be changed on its way here.",
            next_step="Use https, or fetch the file and name that.",
        )
    target = (parts.path or "/") + (f"?{quote(query, safe='=&%/:,+[]')}" if query else "")
    async with HttpClient(f"{parts.scheme}://{parts.netloc}", None, body_cap=LARGEST_FILE, ca_file=ca_file) as fetcher:
        answer = await fetcher.get(target, accept=_ACCEPT)
    if not isinstance(answer, Response):
        raise ServiceFailing(
            f"{shown} could not be fetched: {answer.reason}.", next_step=answer.advice or "Try again, or name a file."
        )
    if answer.status != 200:
        raise ServiceRefused(
            f"{shown} was answered with {answer.status}" + (f": {answer.message}." if answer.message else "."),
            next_step="Check the address, or name a file.",
        )
    return answer.body
