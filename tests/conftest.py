"""What holds for every test."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bulk_export.core.kernel_library import DECODER_VARIABLE, decoder_name

# Where no kernel was built, runs would say so among the lines that tests expect; so all ask for what they get.
os.environ.setdefault(DECODER_VARIABLE, decoder_name())

# Each of the processes of a run would compile all modules anew if it were not to keep what it compiled.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Most tests sync what they write, which no test can tell from a disk. Some load a library from where they write.
_IN_MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(_IN_MEMORY, os.W_OK):
    room = os.statvfs(_IN_MEMORY)
    if room.f_bavail * room.f_frsize > 2 << 30 and not room.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = str(_IN_MEMORY)
        tempfile.tempdir = None

# How fast examples are drawn and tried depends on who else uses the machine, and is not what tests are about.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def state_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default budget file of a test, and of the processes it starts, is not that of whoever runs it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Import test modules in another order in each worker, which then finds most compiled by another one.

    After a checkout nothing is compiled, and all workers would compile the same module at the same time.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None or session.config.args != session.config.getini("testpaths"):
        return
    modules = sorted(_TESTS.rglob("test_*.py"))
    first = len(modules) * int(worker.removeprefix("gw")) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for path in modules[first:] + modules[:first]:
        # The collection imports it again, and reports what is wrong with it, or that it is skipped.
        with suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(_TESTS.parent).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looking through it for garbage took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 50)
