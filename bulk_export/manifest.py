"""The manifest: what was exported, in which files, and what was noticed. No token, no record contents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bulk_export import __version__
from bulk_export.errors import DamagedState
from bulk_export.files import MANIFEST
from bulk_export.journal import PartFile

TOOL = "bulk-export"
_LARGEST = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EndpointResult:
    """One endpoint of a finished export, as the manifest states it.

    `signs_of_change` names what showed that the data changed while they were read; empty where nothing did.
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
    """What the whole export cost, over all runs that took part in it.

    `server_clock_ahead` is by how many seconds at least the service's clock was ahead of ours, as most of its first
    answers agree; where that is far, `server_clock_answers` is how many did.
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
) -> dict[str, Any]:
    """The manifest as JSON values, in the order a person reads it."""
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
    }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The file's content: indented JSON with a final newline."""
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a finished export. Raises DamagedState where it is missing, torn or another tool's."""
    path = directory / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise _untrusted(path, "it is far too large")
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise _untrusted(path, "it does not exist, so the export is not finished") from None
    except OSError as error:
        raise _untrusted(path, f"it cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _untrusted(path, "it is not whole") from None
    if isinstance(manifest, dict):
        tool = manifest.get("tool")
        if isinstance(tool, dict) and tool.get("name") == TOOL and isinstance(manifest.get("endpoints"), dict):
            return manifest
    raise _untrusted(path, "it was not written by this tool")


def now() -> str:
    """The present moment as the manifest writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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


def _untrusted(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"The manifest {path} cannot be used: {reason}.",
        kept="Nothing was deleted.",
        next_step="Run the export again to finish it, or export into another directory.",
    )
