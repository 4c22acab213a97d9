"""Services described as data: one TOML file a service, or an OpenAPI file, read into `model.Service` values."""

from __future__ import annotations

import difflib
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bulk_export.core.masking import without_password
from bulk_export.core.model import Endpoint, Service
from bulk_export.core.text import decode_text
from bulk_export.errors import UsageError
from bulk_export.services.description import read_description

__all__ = [
    "LARGEST_FILE",
    "built_in_services",
    "choose_endpoints",
    "load_service",
    "read_description",
    "read_service",
    "service_versions",
]

LARGEST_FILE = 16 * 1024 * 1024
_OF_SPECS = (".yaml", ".yml", ".json")


def built_in_services() -> tuple[str, ...]:
    """Names that `load_service` knows without a file, in alphabetical order."""
    folder = resources.files("bulk_export.services.builtin")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_service(service: str | Service, version: str | None = None) -> Service:
    """A built-in service by name, or one from a file, in its default version where none is given.

    The file is a description in TOML or an OpenAPI file. What is no name of a built-in service is a file where it
    ends like one or holds a slash; a service that was loaded before is given back. Raises UsageError for what is
    none of these, a file that is no description, and a version that is not described.
    """
    return service if isinstance(service, Service) else read_description(_document(service), version)


def service_versions(service: str | Service) -> tuple[str, ...]:
    """The versions of a service that are described, in the order of its description; raises as `load_service`."""
    if isinstance(service, Service):
        return (service.version,)
    versions = _document(service).get("versions")
    return tuple(versions) if isinstance(versions, Mapping) else ()


def _document(service: str) -> Mapping[str, Any]:
    if service in built_in_services():
        text = resources.files("bulk_export.services.builtin").joinpath(f"{service}.toml").read_text("utf-8")
        return tomllib.loads(text)
    path = Path(service)
    if "\0" in service or not (path.suffix in (".toml", *_OF_SPECS) or "/" in service):
        raise UsageError(
            f"There is no built-in service {without_password(service)!r}.",
            next_step=f"Choose --service from: {', '.join(built_in_services())}, or name a file like my-service.toml.",
        )
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise UsageError(f"{path} is too large for a description ({size} bytes).", next_step=_advice())
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{without_password(str(path))} cannot be read: {error.strerror}.", next_step=_advice()
        ) from None
    return _parse(content, str(path), None)


def read_service(content: bytes, source: str, version: str | None, *, address: str | None = None) -> Service:
    """The service that a description in TOML, or an OpenAPI file, describes.

    `source` names it in messages, and by its ending says which of the two it is; `address` is where it was fetched
    from. Warns of what an OpenAPI file leaves open. Raises UsageError.
    """
    return read_description(_parse(content, source, address), version)


def _parse(content: bytes, source: str, address: str | None) -> Mapping[str, Any]:
    document = None if urlsplit(source).path.endswith(_OF_SPECS) else _from_toml(content, source)
    if document is not None:
        return document

    from bulk_export.services.openapi import describe, parse_spec

    described = describe(parse_spec(content, source), source, address=address)
    for remark in described.remarks:
        warnings.warn(f"{source}: {remark}", UserWarning, stacklevel=4)
    return described.document


def _from_toml(content: bytes, source: str) -> Mapping[str, Any] | None:
    """None where it is not TOML, and not said to be."""
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


def choose_endpoints(service: Service, names: Sequence[str]) -> tuple[Endpoint, ...]:
    """The named endpoints in the catalogue's order, each once; all of them where `names` is empty.

    Raises UsageError naming the nearest endpoint for one that does not exist.
    """
    known = {endpoint.name: endpoint for endpoint in service.endpoints}
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"Did you mean {nearest[0]}? " if nearest else ""
            left_out = [f"{path} is left out: {reason}. " for path, reason in service.left_out if _is_of(name, path)]
            raise UsageError(
                f"Service {service.name} {service.version} has no endpoint {name!r}.",
                next_step=f"{''.join(left_out) or hint}It has: {', '.join(known)}.",
            )
    return tuple(endpoint for endpoint in service.endpoints if not names or endpoint.name in names)


def _is_of(name: str, path: str) -> bool:
    """Whether a name is that of the list at a path, as a user may think of it."""
    written = [part for part in path.split("/") if part and "{" not in part]
    return name == path or "-".join(written).endswith(name)
