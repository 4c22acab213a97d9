"""Numbers of the last run as a text file for Prometheus (`--metrics FILE.prom`), without names of people or a token.

The file is replaced atomically, and is private. A run that fails changes only when that was, and why; the numbers of
the last success stay. Format: Prometheus text exposition 0.0.4, as the textfile collector of its node exporter reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bulk_export.core.files import local_failures, try_writing, write_atomically

_PREFIX = "bulk_export_"
_FAILURES = ("last_failure_timestamp_seconds", "last_exit_code")
_LARGEST = 1 << 20
_HELP = {
    "last_success_timestamp_seconds": "When the last run finished.",
    "last_duration_seconds": "How long it took.",
    "last_records": "Records that it wrote, by endpoint.",
    "last_bytes": "Bytes of the files that it wrote, by endpoint.",
    "last_sample_limit": "The most records of an endpoint if it was a sample (--limit); 0 if all were wanted.",
    "last_requests": "Requests that it sent.",
    "last_retries": "Requests that failed and were repeated.",
    "last_throttled": "Answers 429.",
    "last_incomplete": "Endpoints of which a record may be missing.",
    "last_failure_timestamp_seconds": "When a run failed last; 0 if none did since the last success.",
    "last_exit_code": "The exit code of the last run.",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, with its labels."""

    name: str
    value: float
    labels: Mapping[str, str]


def require_writable(path: Path, output: Path) -> None:
    """Raise LocalFailure unless the file can be written, leaving nothing; it may be in the `output` yet to be made."""
    folder = path.parent
    if folder.absolute() == output.absolute() and not folder.exists():
        return
    with local_failures(
        f"Writing the metrics to {path}",
        kept="Nothing was requested.",
        next_step="Make that directory or repair access to it, or name another file with --metrics.",
    ):
        try_writing(path)


def write_success(path: Path, samples: Iterable[Sample], command: str) -> None:
    """Write the numbers of a run that succeeded. Raises LocalFailure."""
    none = [Sample(name, 0, {"command": command}) for name in _FAILURES]
    _write(path, metrics_text([*samples, *none]))


def write_failure(path: Path, *, now: float, exit_code: int, command: str) -> None:
    """Note that a run failed, and keep the numbers of the last success. Raises LocalFailure."""
    failed = [
        Sample(name, value, {"command": command}) for name, value in zip(_FAILURES, (now, exit_code), strict=True)
    ]
    _write(path, _kept(path) + metrics_text(failed))


def metrics_text(samples: Iterable[Sample]) -> str:
    """The samples in the format of Prometheus, each metric once with its help.

    >>> print(metrics_text([Sample("last_exit_code", 3, {"command": "export"})]), end="")
    # HELP bulk_export_last_exit_code The exit code of the last run.
    # TYPE bulk_export_last_exit_code gauge
    bulk_export_last_exit_code{command="export"} 3
    """
    by_name: dict[str, list[str]] = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        by_name.setdefault(sample.name, []).append(f"{_PREFIX}{sample.name}{{{labels}}} {sample.value:.15g}\n")
    return "".join(
        f"# HELP {_PREFIX}{name} {_HELP[name]}\n# TYPE {_PREFIX}{name} gauge\n{''.join(lines)}"
        for name, lines in by_name.items()
    )


def _kept(path: Path) -> str:
    """What a file of ours says of the last success; nothing of any other file."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST else ""
    except (OSError, ValueError):
        return ""
    lines = text.splitlines(keepends=True)
    if not all(line.startswith((f"# HELP {_PREFIX}", f"# TYPE {_PREFIX}", _PREFIX)) for line in lines):
        return ""
    failures = tuple(f"{start}{_PREFIX}{name}" for name in _FAILURES for start in ("# HELP ", "# TYPE ", ""))
    return "".join(line for line in lines if not line.startswith(failures))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _write(path: Path, text: str) -> None:
    with local_failures(f"Writing the metrics to {path}"):
        write_atomically(path, text.encode())
