"""The example notebook, whose code tests run, and the copy that it keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from bulk_export.services.local import LocalService
from tests.support.restore import canonical, restore

ENDPOINT = "npq-applications"
FREE = {"serviceLimit": "100000/1s", "ipLimit": "100000/1s", "minInterval": "0"}
# For Java: tests run too short a time for its better compiler to pay.
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
NOTEBOOK = Path(__file__).parents[2] / "examples/delta_merge.ipynb"


def cells() -> dict[str, str]:
    """The source of each code cell, by its id."""
    found = json.loads(NOTEBOOK.read_text())["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in found if cell["cell_type"] == "code"}


def run_cells(parameters: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Run code cells, all but that of the parameters if none is named, and return the variables that they leave."""
    code = cells()
    variables = dict(parameters)
    for name in names or (name for name in code if name != "parameters"):
        exec(compile(code[name], f"cell {name}", "exec"), variables)
    return variables


def parameters(service: LocalService, directory: Path, **changes: str) -> dict[str, Any]:
    """The parameters of the notebook, without waits for limits."""
    options = {"service": "npq", "baseUrl": service.base_url, "budget": f"sqlite:///{directory}/budget.sqlite"}
    return {
        "endpoint": ENDPOINT,
        "options": {**options, **FREE, "every": "1h", "pagesPerPartition": "10", **changes},
        "table": str(directory / "table"),
        "checkpoint": str(directory / "checkpoint"),
    }


def check_copy(service: LocalService, given: Mapping[str, Any]) -> list[datetime]:
    """The table has exactly the records of the service; return when each was fetched."""
    rows = sorted(DeltaTable(given["table"]).to_pyarrow_table().to_pylist(), key=itemgetter("id"))
    synced = [row.pop("_synced_at") for row in rows]
    expected = sorted(service.truth(ENDPOINT), key=itemgetter("id"))
    assert [canonical(restore(row)) for row in rows] == [canonical(record) for record in expected]
    return synced
