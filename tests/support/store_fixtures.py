"""Fixtures of tests with object stores: a store of each kind, and a small service, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.served_in_thread import served_in_thread
from tests.support.small_service import SmallService
from tests.support.store_scene import KINDS, Lake, lake_of_kind


@pytest.fixture(scope="module", params=KINDS)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A store of each kind, in turn."""
    with lake_of_kind(request.param, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def undisturbed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins and ends with a proxy that disturbs nothing."""
    yield
    if "lake" in request.fixturenames:
        request.getfixturevalue("lake").proxy.reset()


@pytest.fixture(scope="module")
def service() -> Iterator[SmallService]:
    """The small service."""
    with served_in_thread() as running:
        yield running
