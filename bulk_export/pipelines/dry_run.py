"""What an export or a sync would cost, from its own options: `--dry-run`. Nothing is sent, and no token is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.credentials import TOKEN_VARIABLE
from bulk_export.output.file_names import MANIFEST
from bulk_export.pipelines.declarations import declarations
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.plan import PlanOptions
from bulk_export.pipelines.plan_arguments import PlanArguments
from bulk_export.pipelines.sync.options import SyncOptions


def plan_of_export(endpoints: Sequence[str], options: Mapping[str, Any]) -> PlanOptions:
    """Check the options of an export, and turn them into those of its plan.

    A finished export in the output directory says how many records there are; `limit` bounds them.

    Args:
        endpoints: Names of endpoints.
        options: The options of an export.

    Raises:
        UsageError: An option cannot be used as given.
    """
    resolved = ExportOptions.of(endpoints, environ=_environ(), **options)
    shared: dict[str, Any] = plan_arguments(options)
    if os.path.lexists(resolved.output / MANIFEST) and resolved.remote is None:
        shared["like"] = resolved.output
    if resolved.limit is None:
        return PlanOptions.of(endpoints, **shared)
    plan = PlanOptions.of(endpoints, **shared | {"page_size": resolved.page_size})
    names = [endpoint.name for endpoint in resolved.endpoints]
    return replace(
        plan,
        export=replace(plan.export, sample_pages=resolved.sample_pages),
        records={name: min(resolved.limit, plan.records.get(name, resolved.limit)) for name in names},
    )


def plan_of_sync(endpoints: Sequence[str], options: Mapping[str, Any]) -> PlanOptions:
    """Check the options of a sync, and turn them into those of its plan. Raises UsageError as an export's does."""
    SyncOptions.of(endpoints, environ=_environ(), **options)
    return PlanOptions.of(endpoints, **plan_arguments(options), sync=True)


def plan_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of an export or a sync that a plan takes, too."""
    return {name: value for name, value in options.items() if name in declarations(PlanArguments)}


def _environ() -> Mapping[str, str]:
    """The environment variables, with something in place of a token that is not there."""
    return {TOKEN_VARIABLE: "none"} | {name: value for name, value in os.environ.items() if value}
