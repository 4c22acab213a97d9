"""The public names of the package: which there are, and how they are documented. Importing them is light."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import subprocess
import sys

import pytest

import bulk_export


def test_public_names() -> None:
    assert set(bulk_export.__all__) == {
        "BudgetUnavailable",
        "BulkExportError",
        "Counts",
        "DamagedState",
        "DescriptionOutdated",
        "EndpointSummary",
        "ExportSummary",
        "Interrupted",
        "LocalFailure",
        "RemovalRefused",
        "Observer",
        "PollSummary",
        "SchemaDrift",
        "ServiceFailing",
        "ServiceRefused",
        "SyncSummary",
        "TableSummary",
        "UsageError",
        "Verification",
        "VerificationFailed",
        "WindowUse",
        "__version__",
        "export",
        "replay",
        "run_export",
        "run_replay",
        "run_sync",
        "stream",
        "sync",
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


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_documented(name: str) -> None:
    """A public name has a docstring of its own."""
    value = getattr(bulk_export, name)
    assert (value.__doc__ or "").strip()
    assert not (dataclasses.is_dataclass(value) and value.__doc__.startswith(f"{name}(")), "a generated docstring"


MODULES = sorted(module.name for module in pkgutil.walk_packages(bulk_export.__path__, "bulk_export."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_module_is_documented(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()
