"""Services described as data: one TOML file a service, read into `model.Service` values."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from bulk_export.catalogue.reading import read_description
from bulk_export.errors import UsageError
from bulk_export.model import Endpoint, Service

__all__ = ["built_in_services", "choose_endpoints", "load_service", "read_description", "service_versions"]

_LARGEST_FILE = 16 * 1024 * 1024


def built_in_services() -> tuple[str, ...]:
    """Names that `load_service` knows without a file, in alphabetical order."""
    folder = resources.files(__name__)
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_service(name_or_path: str, version: str | None = None) -> Service:
    """A built-in service by name, or one from a description in a TOML file, in its default version where none is given.

    What is no name of a built-in service is a file where it ends in `.toml` or holds a slash. Raises UsageError for
    what is neither, a file that is no description, and a version that is not described.
    """
    return read_description(_document(name_or_path), version)


def service_versions(name_or_path: str) -> tuple[str, ...]:
    """The versions of a service that are described, in the order of its description; raises as `load_service`."""
    versions = _document(name_or_path).get("versions")
    return tuple(versions) if isinstance(versions, Mapping) else ()


def _document(name_or_path: str) -> Mapping[str, Any]:
    if name_or_path in built_in_services():
        text = resources.files(__name__).joinpath(f"{name_or_path}.toml").read_text("utf-8")
        return tomllib.loads(text)
    path = Path(name_or_path)
    if "\0" in name_or_path or not (path.suffix == ".toml" or "/" in name_or_path):
        raise UsageError(
            f"There is no built-in service {name_or_path!r}.",
            next_step=f"Choose --service from: {', '.join(built_in_services())}, or name a file like my-service.toml.",
        )
    return _parse(path)


def _parse(path: Path) -> Mapping[str, Any]:
    built_in = ", ".join(built_in_services())
    advice = f"--service takes one of {built_in}, or the file of a description (docs/descriptions.md shows one)."
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise UsageError(f"{path} is too large for a description ({size} bytes).", next_step=advice)
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", next_step=advice) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is no text of TOML"
        raise UsageError(f"{path} is not a description in TOML: {reason}.", next_step=advice) from None


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
