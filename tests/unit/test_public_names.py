"""The public names of the package: which there are, and how they are documented. Importing them is light."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import bulk_export


def test_public_names() -> None:
    """The package exports exactly these names."""
    assert set(bulk_export.__all__) == {
        "BegunOtherwise",
        "BudgetUnavailable",
        "BulkExportError",
        "Change",
        "Check",
        "CheckResult",
        "Cost",
        "Counts",
        "DamagedState",
        "DescriptionOutdated",
        "DirectoryInUse",
        "EndFound",
        "Endpoint",
        "EndpointProgress",
        "EndpointSummary",
        "ExportSummary",
        "Field",
        "Finding",
        "Interrupted",
        "InvalidArgument",
        "Limit",
        "LimitUsage",
        "LoadProgress",
        "LoadSummary",
        "LocalFailure",
        "ReportSummary",
        "Observer",
        "OutsideWindow",
        "PageSizeAdvice",
        "Plan",
        "PollSummary",
        "ProgressEvent",
        "RemovalRefused",
        "RetryScheduled",
        "RunFinished",
        "RunProgress",
        "RunResumed",
        "RunStarted",
        "SchemaDrift",
        "Service",
        "ServiceAvailable",
        "ServiceDescription",
        "ServiceFailing",
        "ServiceRefused",
        "ServiceUnavailable",
        "StoreAccessDenied",
        "StoreFailing",
        "StoreRefused",
        "SweepStarted",
        "SyncSummary",
        "TableLoad",
        "TableSummary",
        "TenantCost",
        "TenantResult",
        "TenantsCost",
        "TenantsPlan",
        "TenantsSummary",
        "Throttled",
        "UsageError",
        "Verification",
        "VerificationFailed",
        "RunState",
        "WarningIssued",
        "WindowCost",
        "WindowUse",
        "__version__",
        "arrow_schema",
        "budget",
        "check",
        "check_endpoints",
        "check_sql",
        "describe",
        "doctor",
        "endpoints",
        "export",
        "export_tenants",
        "head",
        "init",
        "load",
        "load_tenants",
        "plan",
        "plan_tenants",
        "replay",
        "resume",
        "run_check_endpoints",
        "run_describe",
        "report",
        "run_doctor",
        "run_export",
        "run_export_tenants",
        "run_head",
        "run_replay",
        "run_resume",
        "run_sync",
        "run_sync_tenants",
        "stream",
        "sync",
        "sync_tenants",
        "trust",
        "unfinished",
        "verify",
    }
    assert all(getattr(bulk_export, name) is not None for name in bulk_export.__all__)
    with pytest.raises(AttributeError):
        _ = bulk_export.nothing_of_the_kind


def test_import_is_light() -> None:
    program = "import sys, bulk_export; print({'pyarrow', 'aiohttp', 'typer', 'anyio'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


NAMES = sorted(name for name in bulk_export.__all__ if not name.startswith("__"))


def sections_of(name: str) -> set[str]:
    """The sections of a docstring."""
    return set(re.findall(r"^(\w+):$", inspect.getdoc(getattr(bulk_export, name)) or "", re.MULTILINE))


FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(bulk_export, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_function_documents_its_use(name: str) -> None:
    """A function says what it takes, returns and raises; one for programs without a loop names the one that it runs."""
    if name.startswith("run_"):
        assert f"`{name.removeprefix('run_')}`" in (inspect.getdoc(getattr(bulk_export, name)) or "")
    else:
        assert sections_of(name) & {"Returns", "Yields"}
        assert sections_of(name) >= {"Args", "Raises"}
        assert "InvalidArgument: " in (inspect.getdoc(getattr(bulk_export, name)) or "")


def test_observer_documents_its_events() -> None:
    events = [event for event in vars(bulk_export.Observer).values() if inspect.isfunction(event)]
    assert len(events) > 10
    assert all(event.__doc__ for event in events)


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_documented(name: str) -> None:
    """A public name has a docstring of its own."""
    value = getattr(bulk_export, name)
    assert (value.__doc__ or "").strip()
    assert not (dataclasses.is_dataclass(value) and value.__doc__.startswith(f"{name}(")), "a generated docstring"


WALKED = pkgutil.walk_packages(bulk_export.__path__, "bulk_export.")
# What needs an engine that is not installed here is documented and tested where it is.
_ENGINES = {
    "pyspark": (
        "bulk_export.spark",
        "bulk_export.integrations.spark",
        "bulk_export.integrations.spark_reading",
        "bulk_export.integrations.spark_stream",
    ),
    "dagster": ("bulk_export.dagster", "bulk_export.integrations.dagster"),
}
_LACKING = {
    module for engine, modules in _ENGINES.items() if importlib.util.find_spec(engine) is None for module in modules
}
MODULES = sorted(
    module.name for module in WALKED if not module.name.endswith("__main__") and module.name not in _LACKING
)


def test_module_is_documented() -> None:
    assert [name for name in MODULES if not (importlib.import_module(name).__doc__ or "").strip()] == []


def test_examples_in_docstrings_are_true() -> None:
    modules = [importlib.import_module(name) for name in MODULES]
    with_examples = [module for module in modules if ">>> " in inspect.getsource(module)]
    results = {module.__name__: doctest.testmod(module) for module in with_examples}
    assert sum(result.attempted for result in results.values()) > 10
    assert [name for name, result in results.items() if result.failed] == []
