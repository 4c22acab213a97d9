"""What holds for every test."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bulk_export.core.kernel_library import DECODER_VARIABLE, decoder_name

# Where no kernel was built, runs would say so among the lines that tests expect; so all ask for what they get.
os.environ.setdefault(DECODER_VARIABLE, decoder_name())


# How fast examples are drawn and tried depends on who else uses the machine, and is not what tests are about.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def state_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default budget file of a test, and of the processes it starts, is not that of whoever runs it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looking through it for garbage took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 50)
