"""What was exported, in which files, and what was noticed. Neither the token nor values of records."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bulk_export.core.files import open_regular
from bulk_export.core.version import __version__
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import PartFile
from bulk_export.output.file_names import MANIFEST, is_endpoint, is_part
from bulk_export.output.missing_export import no_finished_export

TOOL = "bulk-export"
_LARGEST = 256 * 1024 * 1024
_NOTHING: Mapping[str, str] = MappingProxyType({})
_COUNT_LIMIT = 2**63
_RUN_COUNTS = ("requests", "retries", "throttled", "resumed")


class InvalidManifest(ValueError):
    """A manifest that no export wrote. The message names the first difference."""


@dataclass(frozen=True, slots=True)
class EndpointResult:
    """One endpoint of a finished export, as the manifest states it.

    `signs_of_change` counts observations, by name, that the data changed while they were read. `more` holds further
    keys of the endpoint as they are written.
    """

    name: str
    records: int
    pages: int
    duplicates: int
    requests: int
    schema: Sequence[Mapping[str, str]]
    drift: Mapping[str, Any]
    files: Sequence[PartFile]
    signs_of_change: Mapping[str, int] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCounters:
    """Counts over all runs that took part in an export.

    `server_clock_ahead` is a lower bound in seconds for how far the service's clock is ahead of ours, on which most of
    its first responses agree. If that is far, `server_clock_answers` is the number of responses that did.
    """

    requests: int
    retries: int
    throttled: int
    resumed: int
    server_clock_ahead: float | None = None
    server_clock_answers: int | None = None


def build_manifest(
    *,
    service: str,
    api_version: str,
    base_url: str,
    parameters: Mapping[str, Any],
    started_at: str,
    finished_at: str,
    endpoints: Sequence[EndpointResult],
    run: RunCounters,
    not_exported: Mapping[str, str] = _NOTHING,
) -> dict[str, Any]:
    """Build the manifest as JSON values, in the order in which a person reads it.

    Args:
        service: The name of the service.
        api_version: The version of its API.
        base_url: Its address, or `local` for the bundled service.
        parameters: The options that determine what is exported.
        started_at: When the first run started, as the manifest writes times.
        finished_at: When the last run ended.
        endpoints: The results of the endpoints.
        run: Counts over all runs.
        not_exported: The reason for each list that an export of all endpoints lacks; without any, the key is absent.
    """
    return {
        "tool": {"name": TOOL, "version": __version__},
        "service": service,
        "api_version": api_version,
        "base_url": base_url,
        "parameters": dict(parameters),
        "started_at": started_at,
        "finished_at": finished_at,
        "run": {
            "requests": run.requests,
            "retries": run.retries,
            "throttled": run.throttled,
            "resumed": run.resumed,
            "server_clock_ahead": run.server_clock_ahead,
            **({} if run.server_clock_answers is None else {"server_clock_answers": run.server_clock_answers}),
        },
        "endpoints": {result.name: _endpoint(result) for result in endpoints},
        **({"not_exported": dict(not_exported)} if not_exported else {}),
    }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The content of the file: indented JSON with a final newline."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest of a finished export.

    Raises:
        UsageError: There is no export, or no such directory.
        DamagedState: The export is not finished, or its manifest is incomplete or another tool's.
    """
    path = directory / MANIFEST
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise _untrusted(path, "it is far too large")
        manifest = json.loads(content.decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise no_finished_export(directory) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _untrusted(path, "it is a symbolic link") from None
        raise _untrusted(path, f"it cannot be read ({error.strerror})", "Repair access to it.") from None
    except (ValueError, RecursionError):
        raise _untrusted(path, "it is not whole") from None
    if isinstance(manifest, dict):
        tool = manifest.get("tool")
        if isinstance(tool, dict) and tool.get("name") == TOOL and isinstance(manifest.get("endpoints"), dict):
            return manifest
    raise _untrusted(
        path,
        "it was not written by this tool",
        "Choose another directory, or move this file away if no export belongs to it.",
    )


def files_of(manifest: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The files that a manifest names, each with its path and its description.

    Raises:
        InvalidManifest: One of them cannot be a part of its endpoint.
    """
    files: list[tuple[str, Mapping[str, Any]]] = []
    for name, endpoint in manifest["endpoints"].items():
        if not isinstance(endpoint, dict) or not isinstance(endpoint.get("files"), list):
            raise InvalidManifest(f"endpoint {name!r} has no list of files")
        for file in endpoint["files"]:
            path = file.get("path") if isinstance(file, dict) else None
            if not isinstance(path, str):
                raise InvalidManifest(f"it lists what is no file of {name!r}")
            folder, _, part = path.partition("/")
            if folder != name or not is_endpoint(folder) or not is_part(part):
                raise InvalidManifest(f"it names a file that is no part of an export: {path!r}")
            if not all(_is_count(file.get(number)) for number in ("rows", "bytes")):
                raise InvalidManifest(f"it does not say how large {path} is")
            if not isinstance(file.get("sha256"), str):
                raise InvalidManifest(f"it has no hash of {path}")
            files.append((path, file))
    return files


def check_manifest(manifest: Any) -> None:
    """Raise InvalidManifest for what cannot be a manifest that this tool built."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("endpoints"), dict):
        raise InvalidManifest("no manifest")
    files_of(manifest)
    for endpoint in manifest["endpoints"].values():
        counts = [endpoint.get(name) for name in ("records", "pages", "requests", "duplicates")]
        if not all(map(_is_count, counts)) or not isinstance(endpoint.get("drift"), dict):
            raise InvalidManifest("an endpoint without its counts")
    run = manifest.get("run")
    if not isinstance(run, dict) or not all(_is_count(run.get(name)) for name in _RUN_COUNTS):
        raise InvalidManifest("no counts of the run")


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < _COUNT_LIMIT


def _endpoint(result: EndpointResult) -> dict[str, Any]:
    return {
        "records": result.records,
        "pages": result.pages,
        "duplicates": result.duplicates,
        "requests": result.requests,
        "changed_during_export": bool(result.signs_of_change),
        "signs_of_change": dict(result.signs_of_change),
        **result.more,
        "schema": [dict(column) for column in result.schema],
        "drift": dict(result.drift),
        "files": [
            {"path": file.path, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256} for file in result.files
        ],
    }


def _untrusted(path: Path, reason: str, advice: str = "") -> DamagedState:
    return DamagedState(
        f"The manifest {path} cannot be used: {reason}.",
        kept="Nothing was deleted.",
        next_step=advice or "Restore it from a copy of the export, or export into another directory.",
    )
