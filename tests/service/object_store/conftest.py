"""A store of each kind, and a small service, for all tests of a module."""

from __future__ import annotations

from tests.support.store_fixtures import lake, service, undisturbed

__all__ = ["lake", "service", "undisturbed"]
