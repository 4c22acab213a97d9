"""Export everything from the DfE lead-provider API, fast, within its rate limits, without losing a record.

`export` and `run_export` write files, `sync` keeps a copy current, `load` brings either into a database, and `stream`
yields record batches. Every command has its function, and its keyword arguments are the options of the command line,
under the same names. Everything is imported when it is first used.

The loggers are named after the modules and silent until a program configures `bulk_export` or the root logger.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from bulk_export.core.version import __version__

if TYPE_CHECKING:
    from bulk_export.api.copies import load as load
    from bulk_export.api.copies import run_sync as run_sync
    from bulk_export.api.copies import sync as sync
    from bulk_export.api.exports import export as export
    from bulk_export.api.exports import replay as replay
    from bulk_export.api.exports import resume as resume
    from bulk_export.api.exports import run_export as run_export
    from bulk_export.api.exports import run_replay as run_replay
    from bulk_export.api.exports import run_resume as run_resume
    from bulk_export.api.exports import stream as stream
    from bulk_export.api.finished import check as check
    from bulk_export.api.finished import check_sql as check_sql
    from bulk_export.api.finished import report as report
    from bulk_export.api.finished import unfinished as unfinished
    from bulk_export.api.finished import verify as verify
    from bulk_export.api.inspection import arrow_schema as arrow_schema
    from bulk_export.api.inspection import budget as budget
    from bulk_export.api.inspection import check_endpoints as check_endpoints
    from bulk_export.api.inspection import describe as describe
    from bulk_export.api.inspection import doctor as doctor
    from bulk_export.api.inspection import endpoints as endpoints
    from bulk_export.api.inspection import head as head
    from bulk_export.api.inspection import plan as plan
    from bulk_export.api.inspection import run_check_endpoints as run_check_endpoints
    from bulk_export.api.inspection import run_describe as run_describe
    from bulk_export.api.inspection import run_doctor as run_doctor
    from bulk_export.api.inspection import run_head as run_head
    from bulk_export.api.settings import init as init
    from bulk_export.api.settings import trust as trust
    from bulk_export.api.tenants import export_tenants as export_tenants
    from bulk_export.api.tenants import load_tenants as load_tenants
    from bulk_export.api.tenants import plan_tenants as plan_tenants
    from bulk_export.api.tenants import run_export_tenants as run_export_tenants
    from bulk_export.api.tenants import run_sync_tenants as run_sync_tenants
    from bulk_export.api.tenants import sync_tenants as sync_tenants
    from bulk_export.core.model import Endpoint as Endpoint
    from bulk_export.core.model import Field as Field
    from bulk_export.core.model import Limit as Limit
    from bulk_export.core.model import Service as Service
    from bulk_export.errors import BegunOtherwise as BegunOtherwise
    from bulk_export.errors import BudgetUnavailable as BudgetUnavailable
    from bulk_export.errors import BulkExportError as BulkExportError
    from bulk_export.errors import DamagedState as DamagedState
    from bulk_export.errors import DescriptionOutdated as DescriptionOutdated
    from bulk_export.errors import DirectoryInUse as DirectoryInUse
    from bulk_export.errors import Interrupted as Interrupted
    from bulk_export.errors import InvalidArgument as InvalidArgument
    from bulk_export.errors import LocalFailure as LocalFailure
    from bulk_export.errors import RemovalRefused as RemovalRefused
    from bulk_export.errors import SchemaDrift as SchemaDrift
    from bulk_export.errors import ServiceFailing as ServiceFailing
    from bulk_export.errors import ServiceRefused as ServiceRefused
    from bulk_export.errors import StoreAccessDenied as StoreAccessDenied
    from bulk_export.errors import StoreFailing as StoreFailing
    from bulk_export.errors import StoreRefused as StoreRefused
    from bulk_export.errors import UsageError as UsageError
    from bulk_export.errors import VerificationFailed as VerificationFailed
    from bulk_export.extract.rate_limit.usage import LimitUsage as LimitUsage
    from bulk_export.output.verify import Verification as Verification
    from bulk_export.pipelines.checks.queries import Check as Check
    from bulk_export.pipelines.checks.runner import CheckResult as CheckResult
    from bulk_export.pipelines.description_file import ServiceDescription as ServiceDescription
    from bulk_export.pipelines.doctor import Finding as Finding
    from bulk_export.pipelines.estimate import Cost as Cost
    from bulk_export.pipelines.estimate import WindowCost as WindowCost
    from bulk_export.pipelines.load import LoadSummary as LoadSummary
    from bulk_export.pipelines.load_transaction import LoadProgress as LoadProgress
    from bulk_export.pipelines.load_transaction import TableLoad as TableLoad
    from bulk_export.pipelines.page_size_advice import PageSizeAdvice as PageSizeAdvice
    from bulk_export.pipelines.plan import Plan as Plan
    from bulk_export.pipelines.report import ReportSummary as ReportSummary
    from bulk_export.pipelines.sync.summary import Counts as Counts
    from bulk_export.pipelines.sync.summary import PollSummary as PollSummary
    from bulk_export.pipelines.sync.summary import SyncSummary as SyncSummary
    from bulk_export.pipelines.sync.summary import TableSummary as TableSummary
    from bulk_export.pipelines.tenants import TenantResult as TenantResult
    from bulk_export.pipelines.tenants import TenantsSummary as TenantsSummary
    from bulk_export.pipelines.tenants_plan import TenantCost as TenantCost
    from bulk_export.pipelines.tenants_plan import TenantsCost as TenantsCost
    from bulk_export.pipelines.tenants_plan import TenantsPlan as TenantsPlan
    from bulk_export.progress.events import EndFound as EndFound
    from bulk_export.progress.events import EndpointProgress as EndpointProgress
    from bulk_export.progress.events import OutsideWindow as OutsideWindow
    from bulk_export.progress.events import ProgressEvent as ProgressEvent
    from bulk_export.progress.events import RetryScheduled as RetryScheduled
    from bulk_export.progress.events import RunFinished as RunFinished
    from bulk_export.progress.events import RunProgress as RunProgress
    from bulk_export.progress.events import RunResumed as RunResumed
    from bulk_export.progress.events import RunStarted as RunStarted
    from bulk_export.progress.events import ServiceAvailable as ServiceAvailable
    from bulk_export.progress.events import ServiceUnavailable as ServiceUnavailable
    from bulk_export.progress.events import SweepStarted as SweepStarted
    from bulk_export.progress.events import Throttled as Throttled
    from bulk_export.progress.events import WarningIssued as WarningIssued
    from bulk_export.progress.observer import EndpointSummary as EndpointSummary
    from bulk_export.progress.observer import ExportSummary as ExportSummary
    from bulk_export.progress.observer import Observer as Observer
    from bulk_export.progress.observer import WindowUse as WindowUse
    from bulk_export.progress.run_state import RunState as RunState
    from bulk_export.services.openapi import Change as Change

logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {
    "bulk_export.api.copies": (
        "load",
        "run_sync",
        "sync",
    ),
    "bulk_export.api.exports": (
        "export",
        "replay",
        "resume",
        "run_export",
        "run_replay",
        "run_resume",
        "stream",
    ),
    "bulk_export.api.finished": (
        "check",
        "check_sql",
        "report",
        "unfinished",
        "verify",
    ),
    "bulk_export.api.inspection": (
        "arrow_schema",
        "budget",
        "check_endpoints",
        "describe",
        "doctor",
        "endpoints",
        "head",
        "plan",
        "run_check_endpoints",
        "run_describe",
        "run_doctor",
        "run_head",
    ),
    "bulk_export.api.settings": (
        "init",
        "trust",
    ),
    "bulk_export.api.tenants": (
        "export_tenants",
        "load_tenants",
        "plan_tenants",
        "run_export_tenants",
        "run_sync_tenants",
        "sync_tenants",
    ),
    "bulk_export.core.model": (
        "Endpoint",
        "Field",
        "Limit",
        "Service",
    ),
    "bulk_export.errors": (
        "BegunOtherwise",
        "BulkExportError",
        "BudgetUnavailable",
        "DamagedState",
        "DescriptionOutdated",
        "DirectoryInUse",
        "Interrupted",
        "InvalidArgument",
        "LocalFailure",
        "RemovalRefused",
        "SchemaDrift",
        "ServiceFailing",
        "ServiceRefused",
        "StoreAccessDenied",
        "StoreFailing",
        "StoreRefused",
        "UsageError",
        "VerificationFailed",
    ),
    "bulk_export.extract.rate_limit.usage": ("LimitUsage",),
    "bulk_export.output.verify": ("Verification",),
    "bulk_export.pipelines.checks.queries": ("Check",),
    "bulk_export.pipelines.checks.runner": ("CheckResult",),
    "bulk_export.pipelines.description_file": ("ServiceDescription",),
    "bulk_export.pipelines.doctor": ("Finding",),
    "bulk_export.pipelines.estimate": (
        "Cost",
        "WindowCost",
    ),
    "bulk_export.pipelines.load": ("LoadSummary",),
    "bulk_export.pipelines.load_transaction": (
        "LoadProgress",
        "TableLoad",
    ),
    "bulk_export.pipelines.page_size_advice": ("PageSizeAdvice",),
    "bulk_export.pipelines.plan": ("Plan",),
    "bulk_export.pipelines.report": ("ReportSummary",),
    "bulk_export.pipelines.sync.summary": (
        "Counts",
        "PollSummary",
        "SyncSummary",
        "TableSummary",
    ),
    "bulk_export.pipelines.tenants": (
        "TenantResult",
        "TenantsSummary",
    ),
    "bulk_export.pipelines.tenants_plan": ("TenantCost", "TenantsCost", "TenantsPlan"),
    "bulk_export.progress.events": (
        "EndFound",
        "EndpointProgress",
        "OutsideWindow",
        "ProgressEvent",
        "RetryScheduled",
        "RunFinished",
        "RunProgress",
        "RunResumed",
        "RunStarted",
        "ServiceAvailable",
        "ServiceUnavailable",
        "SweepStarted",
        "Throttled",
        "WarningIssued",
    ),
    "bulk_export.progress.observer": (
        "EndpointSummary",
        "ExportSummary",
        "Observer",
        "WindowUse",
    ),
    "bulk_export.progress.run_state": ("RunState",),
    "bulk_export.services.openapi": ("Change",),
}
# Modules that need a package of their own, and are imported by name only.
_INTEGRATIONS = {"dagster": "bulk_export.dagster", "spark": "bulk_export.spark"}
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
