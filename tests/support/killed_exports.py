"""Exports that were killed at the end: before their manifest was decided, and after."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulk_export.pipelines import workspace
from bulk_export.pipelines.export import export
from tests.support.disturbed_run import TUNING, small_options
from tests.support.small_service import SmallService, small_service

STATE = ".bulk-export"
FOLDER = f"{STATE}/parts/delivery-partners/revision-0"


class Killed(BaseException):
    """Ends a run as a kill would, in this process."""


def kill(*_: object, **__: object) -> None:
    """Stand in for a function, and end the run in it."""
    raise Killed


@contextlib.asynccontextmanager
async def serving_unfinished(room: Path) -> AsyncIterator[SmallService]:
    """Serve with an export in `room/unfinished` that died before its manifest was decided, and `room/finished`."""
    async with small_service() as service:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workspace, "decide", kill)
            with pytest.raises(Killed):
                await export(small_options(service.base_url, room / "unfinished"), tuning=TUNING)
        shutil.copytree(room / "unfinished", room / "finished")
        await export(small_options(service.base_url, room / "finished"), tuning=TUNING)
        service.requests.clear()
        yield service


@contextlib.asynccontextmanager
async def serving_decided(room: Path) -> AsyncIterator[SmallService]:
    """Serve with an export in `room/decided` whose manifest is decided, but nothing is published."""
    async with serving_unfinished(room) as service:
        shutil.copytree(room / "unfinished", room / "decided")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workspace, "publish", kill)
            with pytest.raises(Killed):
                await export(small_options(service.base_url, room / "decided"), tuning=TUNING)
        yield service
