"""What a user asked to keep current, checked and resolved before anything is opened or sent."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bulk_export.core.model import INFER
from bulk_export.core.units import parse_duration, parse_word
from bulk_export.core.urls import check_base_url
from bulk_export.errors import UsageError
from bulk_export.output.delta_files import check_path
from bulk_export.pipelines.connection import LOCAL_TOKEN, service_name
from bulk_export.pipelines.options import ExportOptions, output_of
from bulk_export.services.base_url import normalize_base_url

FORMATS = ("delta", "parquet")
REMOVED = ("mark", "delete")
_LEAST_HISTORY = timedelta(days=7)
_NOT_HERE = (
    "updated_since",
    "sort",
    "consistent",
    "gone",
    "compression",
    "flatten",
    "overwrite",
    "keep_pages",
    "work_dir",
)


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """A resolved request to keep a copy in `output`.

    `full` and `changes` say how everything is fetched, and how what changed: with the service's default page.
    `full_every` lies between two full syncs. `removed` says what becomes of records that went away: they are marked,
    or deleted. After a poll, tables are compacted where `compact` says so, and versions older than `vacuum` are given
    up. `accepts_token` takes a token for another one of the same provider. More removals than the share `max_removed`
    of a table are refused, unless `accepts_removals`. `moved_from` is the address that the copy was made from.
    """

    full: ExportOptions
    changes: ExportOptions
    output: Path
    format: str
    full_every: timedelta
    removed: str
    compact: bool
    vacuum: timedelta | None
    accepts_token: bool
    max_removed: float = 0.1
    accepts_removals: bool = False
    moved_from: str | None = None

    @classmethod
    def of(
        cls,
        endpoints: Sequence[str] = (),
        *,
        output: str | os.PathLike[str] | None = None,
        format: str = "delta",  # noqa: A002  # the name of the option
        page_size: int | str | None = None,
        full_every: str | float | timedelta = "7d",
        removed: str = "mark",
        compact: bool = False,
        vacuum: str | float | timedelta | None = None,
        accept_token: bool = False,
        max_removed: str | float = "10%",
        accept_removals: bool = False,
        moved_to: str | None = None,
        schema: str = INFER,
        **options: Any,
    ) -> SyncOptions:
        """Check the options of the command line, under the same names. Raises UsageError.

        Durations may be given in seconds, `max_removed` as a fraction; `options` are those of an export that make sense
        here.
        """
        if unfit := sorted(set(options) & set(_NOT_HERE)):
            raise TypeError(f"sync does not take {', '.join(unfit)}")
        if output is None:
            raise UsageError("There is no directory for the copy.", next_step="Name it with --output.")
        full = ExportOptions.of(
            endpoints, output=output, page_size=page_size, consistent=True, gone="drop", schema=schema, **options
        )
        full = _with_ids(full, named=bool(endpoints))
        moved_from = None
        if moved_to is not None:
            insecure = bool(options.get("allow_plain_http", False))
            address = check_base_url(moved_to, allow_plain_http=insecure, option="--moved-to")
            if full.base_url is None:
                raise UsageError("The bundled service does not move.", next_step="Leave out --moved-to.")
            address = normalize_base_url(full.service, address)
            moved_from, full = service_name(full), replace(full, environment=None, base_url=address)
        directory = output_of(output, full.service)
        size = full.page_size if page_size is not None else min(full.page_size, full.service.default_page_size)
        if parse_word("--format", format, FORMATS) == "delta":
            check_path(directory)
        elif compact or vacuum is not None:
            raise UsageError("Only Delta tables are compacted and cleaned.", next_step="Leave out --format parquet.")
        history = None if vacuum is None else _duration(vacuum, "--vacuum")
        if history is not None and history < _LEAST_HISTORY:
            raise UsageError(
                "--vacuum must keep 7 days at least, for those who read them.",
                next_step="Write --vacuum 30d.",
            )
        return cls(
            full=full,
            changes=replace(full, page_size=size, asks_twice=False, left_out=()),
            output=directory,
            format=format,
            full_every=_duration(full_every, "--full-every"),
            removed=parse_word("--removed", removed, REMOVED),
            compact=compact,
            vacuum=history,
            accepts_token=accept_token,
            max_removed=_share(max_removed),
            accepts_removals=accept_removals,
            moved_from=moved_from,
        )

    def identity(self) -> dict[str, Any]:
        """What makes this copy another one than that of other options, but for the token."""
        return {
            "service": self.full.service.name,
            "api_version": self.full.service.version,
            "base_url": service_name(self.full),
            "filters": dict(self.full.filters),
            "format": self.format,
            "drop_columns": list(self.full.drop_columns),
            "pseudonymise": list(self.full.pseudonymised),
            "pseudonym_key": self.full.redaction.key_id,
        }

    def token_mark(self, key: bytes) -> str:
        """What tells this token from others, and gives nothing of it away to whom `key` is not known."""
        secret = LOCAL_TOKEN if self.full.token is None else self.full.token.reveal()
        return hmac.digest(key, secret.encode(), hashlib.sha256).hex()[:16]


def split_every(options: Mapping[str, Any]) -> tuple[dict[str, Any], float | None]:
    """The options for `SyncOptions.of`, and every how many seconds to poll, None for once. Raises UsageError."""
    rest = dict(options)
    every = rest.pop("every", None)
    if every is None:
        return rest, None
    seconds = _duration(every, "--every").total_seconds()
    if seconds < 1:
        raise UsageError("--every must be a second at least.", next_step="Write it like 1h or 15m.")
    return rest, seconds


def _with_ids(options: ExportOptions, *, named: bool) -> ExportOptions:
    """The options without endpoints whose records nothing identifies. Raises UsageError where one was `named`."""
    kept = tuple(endpoint for endpoint in options.endpoints if endpoint.shape.id)
    lacking = [endpoint.name for endpoint in options.endpoints if not endpoint.shape.id]
    if lacking and (named or not kept):
        raise UsageError(
            f"Nothing identifies the records of {', '.join(lacking)}, so that a copy cannot follow them.",
            next_step="Name other endpoints, or export these each time.",
        )
    reason = "nothing identifies its records, so that a copy cannot follow them"
    return replace(options, endpoints=kept, left_out=(*options.left_out, *((name, reason) for name in lacking)))


def _share(given: str | float) -> float:
    """A share from `10%`, `10` (both are percent) or 0.1."""
    try:
        share = float(given.strip().removesuffix("%")) / 100 if isinstance(given, str) else float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-removed cannot be {given!r}.", next_step="Write a share of the records, like 10%.")
    return share


def _duration(given: str | float | timedelta, option: str) -> timedelta:
    if isinstance(given, timedelta):
        return given
    try:
        return timedelta(seconds=parse_duration(given, f"a time for {option}") if isinstance(given, str) else given)
    except OverflowError:
        raise UsageError(f"{option} is far too long.", next_step="Write it like 7d or 12h.") from None
