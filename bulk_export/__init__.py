"""Export everything from the DfE lead-provider API, fast, within its rate limits, without losing a record.

`export` and `run_export` write files, `sync` keeps a copy current, `load` brings either into a database, and `stream`
yields record batches. Their keyword arguments are the options of the command line, under the same names. Everything is
imported when it is first used.

The loggers are named after the modules and silent until a program configures `bulk_export` or the root logger.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from bulk_export.core.version import __version__

if TYPE_CHECKING:
    from bulk_export.api import doctor as doctor
    from bulk_export.api import export as export
    from bulk_export.api import head as head
    from bulk_export.api import load as load
    from bulk_export.api import replay as replay
    from bulk_export.api import report as report
    from bulk_export.api import run_doctor as run_doctor
    from bulk_export.api import run_export as run_export
    from bulk_export.api import run_head as run_head
    from bulk_export.api import run_replay as run_replay
    from bulk_export.api import run_sync as run_sync
    from bulk_export.api import stream as stream
    from bulk_export.api import sync as sync
    from bulk_export.api import verify as verify
    from bulk_export.api_tenants import export_tenants as export_tenants
    from bulk_export.api_tenants import load_tenants as load_tenants
    from bulk_export.api_tenants import run_export_tenants as run_export_tenants
    from bulk_export.api_tenants import run_sync_tenants as run_sync_tenants
    from bulk_export.api_tenants import sync_tenants as sync_tenants
    from bulk_export.errors import BudgetUnavailable as BudgetUnavailable
    from bulk_export.errors import BulkExportError as BulkExportError
    from bulk_export.errors import DamagedState as DamagedState
    from bulk_export.errors import DescriptionOutdated as DescriptionOutdated
    from bulk_export.errors import Interrupted as Interrupted
    from bulk_export.errors import LocalFailure as LocalFailure
    from bulk_export.errors import RemovalRefused as RemovalRefused
    from bulk_export.errors import SchemaDrift as SchemaDrift
    from bulk_export.errors import ServiceFailing as ServiceFailing
    from bulk_export.errors import ServiceRefused as ServiceRefused
    from bulk_export.errors import StoreFailing as StoreFailing
    from bulk_export.errors import StoreRefused as StoreRefused
    from bulk_export.errors import UsageError as UsageError
    from bulk_export.errors import VerificationFailed as VerificationFailed
    from bulk_export.integrations import spark as spark
    from bulk_export.output.verify import Verification as Verification
    from bulk_export.pipelines.doctor import Finding as Finding
    from bulk_export.pipelines.load import LoadSummary as LoadSummary
    from bulk_export.pipelines.load_transaction import LoadProgress as LoadProgress
    from bulk_export.pipelines.load_transaction import TableLoad as TableLoad
    from bulk_export.pipelines.report import ReportSummary as ReportSummary
    from bulk_export.pipelines.sync.summary import Counts as Counts
    from bulk_export.pipelines.sync.summary import PollSummary as PollSummary
    from bulk_export.pipelines.sync.summary import SyncSummary as SyncSummary
    from bulk_export.pipelines.sync.summary import TableSummary as TableSummary
    from bulk_export.pipelines.tenants import TenantResult as TenantResult
    from bulk_export.pipelines.tenants import TenantsSummary as TenantsSummary
    from bulk_export.progress.observer import EndpointSummary as EndpointSummary
    from bulk_export.progress.observer import ExportSummary as ExportSummary
    from bulk_export.progress.observer import Observer as Observer
    from bulk_export.progress.observer import WindowUse as WindowUse

logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "bulk_export.api": (
        "doctor",
        "export",
        "head",
        "load",
        "replay",
        "report",
        "run_doctor",
        "run_export",
        "run_head",
        "run_replay",
        "run_sync",
        "stream",
        "sync",
        "verify",
    ),
    "bulk_export.api_tenants": (
        "export_tenants",
        "load_tenants",
        "run_export_tenants",
        "run_sync_tenants",
        "sync_tenants",
    ),
    "bulk_export.errors": (
        "BulkExportError",
        "BudgetUnavailable",
        "DamagedState",
        "DescriptionOutdated",
        "Interrupted",
        "LocalFailure",
        "RemovalRefused",
        "SchemaDrift",
        "ServiceFailing",
        "ServiceRefused",
        "StoreFailing",
        "StoreRefused",
        "UsageError",
        "VerificationFailed",
    ),
    "bulk_export.pipelines.doctor": ("Finding",),
    "bulk_export.pipelines.load": ("LoadSummary",),
    "bulk_export.pipelines.load_transaction": ("LoadProgress", "TableLoad"),
    "bulk_export.pipelines.report": ("ReportSummary",),
    "bulk_export.pipelines.sync.summary": ("Counts", "PollSummary", "SyncSummary", "TableSummary"),
    "bulk_export.pipelines.tenants": ("TenantResult", "TenantsSummary"),
    "bulk_export.progress.observer": ("EndpointSummary", "ExportSummary", "Observer", "WindowUse"),
    "bulk_export.output.verify": ("Verification",),
}
# Modules that need a package of their own, and are imported by name only.
_INTEGRATIONS = {"spark": "bulk_export.integrations.spark"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: PLE0604  # built from the names above, so that the two cannot differ
    *_HOME_OF,
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    if name in _INTEGRATIONS:
        return importlib.import_module(_INTEGRATIONS[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
