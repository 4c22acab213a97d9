"""Services described as data: one TOML file a service, read into `model.Service` values."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from bulk_export.errors import UsageError
from bulk_export.model import Endpoint, Field, FieldType, Kind, ListOf, Service, Struct
from bulk_export.units import parse_limit


def built_in_services() -> tuple[str, ...]:
    """Names that `load_service` knows without a file, in alphabetical order."""
    folder = resources.files(__name__)
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_service(name: str, version: str | None = None) -> Service:
    """The description of a built-in service, in its default version where none is given.

    Raises UsageError for a service or a version that is not described.
    """
    if name not in built_in_services():
        raise UsageError(
            f"There is no built-in service {name!r}.",
            next_step=f"Choose --service from: {', '.join(built_in_services())}.",
        )
    document = tomllib.loads(resources.files(__name__).joinpath(f"{name}.toml").read_text("utf-8"))
    return read_description(document, version)


def read_description(document: Mapping[str, Any], version: str | None) -> Service:
    """A service from a parsed description, whose form the comments of `npq.toml` explain."""
    versions: Mapping[str, Any] = document["versions"]
    chosen = version or document["default_version"]
    if chosen not in versions:
        raise UsageError(
            f"Service {document['name']} has no version {chosen!r} here.",
            next_step=f"Choose --api-version from: {', '.join(versions)}.",
        )
    return Service(
        name=document["name"],
        version=chosen,
        title=document["title"],
        endpoints=tuple(_endpoint(name, entry) for name, entry in versions[chosen].items()),
        environments=tuple(document.get("environments", {}).items()),
        service_limit=parse_limit(document["limits"]["service"]),
        ip_limit=parse_limit(document["limits"]["ip"]),
        default_page_size=document["pages"]["default"],
        largest_page_size=document["pages"]["largest"],
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
            raise UsageError(
                f"Service {service.name} {service.version} has no endpoint {name!r}.",
                next_step=f"{hint}It has: {', '.join(known)}.",
            )
    return tuple(endpoint for endpoint in service.endpoints if not names or endpoint.name in names)


def _endpoint(name: str, entry: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        name=name,
        path=entry["path"],
        record_type=entry["record_type"],
        fields=_fields(entry["fields"]),
        filters=tuple(entry["filters"]),
        since=entry.get("since"),
        sort=entry.get("sort"),
        order=tuple(entry["order"]),
        order_is_total=entry["order_is_total"],
    )


def _fields(entries: Mapping[str, Any]) -> tuple[Field, ...]:
    return tuple(Field(name, _field_type(declared)) for name, declared in entries.items())


def _field_type(declared: Any) -> FieldType:
    if isinstance(declared, str):
        return Kind(declared)
    if isinstance(declared, list):
        return ListOf(_field_type(declared[0]))
    return Struct(_fields(declared))
