"""Services by name or file: a built-in description, a description in TOML, or an OpenAPI file."""

from __future__ import annotations

import difflib
import os
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bulk_export.core.locations import with_home
from bulk_export.core.masking import without_password
from bulk_export.core.model import Endpoint, Service
from bulk_export.core.text import counted, decode_text
from bulk_export.errors import UsageError
from bulk_export.services.description import read_description

__all__ = [
    "LARGEST_FILE",
    "built_in_services",
    "choose_endpoints",
    "described_order",
    "load_service",
    "read_description",
    "read_service",
    "service_versions",
]

LARGEST_FILE = 16 * 1024 * 1024
_OPENAPI_SUFFIXES = (".yaml", ".yml", ".json")
# The same files as through importlib.resources, which takes some milliseconds to import.
_BUILT_IN = Path(__file__).with_name("builtin")


def built_in_services() -> tuple[str, ...]:
    """Return the names of the built-in services, in alphabetical order."""
    return tuple(sorted(path.stem for path in _BUILT_IN.glob("*.toml")))


def load_service(service: str | os.PathLike[str] | Service, version: str | None = None) -> Service:
    """Load the description of a service.

    Args:
        service: The name of a built-in service, or the path of a description in TOML or of an OpenAPI file. A path ends
            in .toml, .yaml, .yml or .json, or contains a slash. A Service is returned as it is.
        version: The version to load; the default version if None.

    Raises:
        UsageError: If there is no such service or version, or the file cannot be read as a description.

    >>> load_service("npq").version
    'v3'
    """
    return service if isinstance(service, Service) else read_description(_document(os.fspath(service)), version)


def service_versions(service: str | Service) -> tuple[str, ...]:
    """Return the versions of a service, in the order of its description. Raises as `load_service`."""
    if isinstance(service, Service):
        return (service.version,)
    versions = _document(service).get("versions")
    return tuple(versions) if isinstance(versions, Mapping) else ()


def read_service(content: bytes, source: str, version: str | None, *, address: str | None = None) -> Service:
    """Read a service from the content of a description in TOML, or of an OpenAPI file.

    Warns of what an OpenAPI file leaves open.

    Args:
        content: The content of the file.
        source: What messages call it. Its suffix tells the format.
        version: The version to read; the default version if None.
        address: Where it was fetched from, to resolve relative servers.

    Raises:
        UsageError: If it cannot be read as a description, or the version is not described.
    """
    return read_description(_parse(content, source, address), version)


def choose_endpoints(service: Service, names: Sequence[str]) -> tuple[Endpoint, ...]:
    """Return the named endpoints, each once and in the order of their names; all if `names` is empty.

    Raises:
        UsageError: If there is no endpoint of a name. It suggests the most similar one, or says why it is left out.
    """
    known = {endpoint.name: endpoint for endpoint in service.endpoints}
    for name in names:
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"Did you mean {similar[0]}? " if similar else ""
            left_out = [f"{path} is left out: {reason}. " for path, reason in service.left_out if _may_mean(name, path)]
            raise UsageError(
                f"Service {service.name} {service.version} has no endpoint {name!r}.",
                next_step=f"{''.join(left_out) or hint}It has: {', '.join(known)}.",
            )
    return tuple(known[name] for name in dict.fromkeys(names or known))


def described_order(service: Service, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return endpoints in the order of the description: what is stored of a run depends on no order of names."""
    places = {endpoint.name: place for place, endpoint in enumerate(service.endpoints)}
    return sorted(endpoints, key=lambda endpoint: places[endpoint.name])


def _document(service: str) -> Mapping[str, Any]:
    if service in built_in_services():
        return tomllib.loads((_BUILT_IN / f"{service}.toml").read_text("utf-8"))
    path = with_home(service)
    if "\0" in service or not (path.suffix in (".toml", *_OPENAPI_SUFFIXES) or "/" in service):
        raise UsageError(
            f"There is no built-in service {without_password(service)!r}.",
            next_step=f"Choose --service from: {', '.join(built_in_services())}, or name a file like my-service.toml.",
        )
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UsageError(f"{path} is too large for a description ({counted(size, 'byte')}).", next_step=_advice())
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{without_password(str(path))} cannot be read: {error.strerror}.", next_step=_advice()
        ) from None
    return _parse(content, str(path), None)


def _parse(content: bytes, source: str, address: str | None) -> Mapping[str, Any]:
    document = None if urlsplit(source).path.endswith(_OPENAPI_SUFFIXES) else _parse_toml(content, source)
    if document is not None:
        return document

    from bulk_export.services.openapi import describe, parse_spec

    described = describe(parse_spec(content, source), source, address=address)
    for remark in described.remarks:
        warnings.warn(f"{source}: {remark}", UserWarning, stacklevel=4)
    return described.document


def _parse_toml(content: bytes, source: str) -> Mapping[str, Any] | None:
    """Return the TOML document; None if it is not TOML but may be OpenAPI in a file without a suffix."""
    text = ""
    try:
        text = decode_text(content)
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        if not urlsplit(source).path.endswith(".toml") and "openapi" in text:
            return None
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is no text of TOML"
        raise UsageError(f"{source} is not a description in TOML: {reason}.", next_step=_advice()) from None


def _advice() -> str:
    return (
        f"--service takes one of {', '.join(built_in_services())}, the file of a description"
        " (docs/descriptions.md shows one), or an OpenAPI file."
    )


def _may_mean(name: str, path: str) -> bool:
    """Whether a user may mean the list at a path by a name."""
    words = [segment for segment in path.split("/") if segment and "{" not in segment]
    return name == path or "-".join(words).endswith(name)
