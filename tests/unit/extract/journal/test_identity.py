"""Which exports may go on from a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import UsageError
from bulk_export.extract.journal import JournalStore
from tests.support.journals import BODY, CAP, IDENTITY, copy_journal


def test_other_parameters_are_refused(path: Path) -> None:
    """The same export may go on; another one is refused with what differs."""
    store = JournalStore(path, cap=CAP)
    assert store.bind({"service": "npq", "page_size": 300}) is False
    assert store.bind({"page_size": 300, "service": "npq"}) is True
    with pytest.raises(UsageError, match="--page-size 300, now 100") as refused:
        store.bind({"service": "npq", "page_size": 100})
    assert "service" not in refused.value.what.split("another way:")[1]
    store.close()


def test_pages_of_other_version_are_kept(complete: Path, path: Path) -> None:
    """Pages that another version stored are kept, and what it made of them is made again."""
    copy_journal(complete, path)
    store = JournalStore(path, cap=CAP)
    store.put_fact("revision/things", "[[], [], [0, 0, 0, 0, 0, false]]")
    assert store.bind({**IDENTITY, "version": "2"}) is True
    assert store.parts("things", 0) == []
    assert list(store.page_fingerprints("things", 0)) == []
    assert store.fact("revision/things") is None
    assert store.body(PageKey("things", 0, 2)) == BODY
    assert store.bind({**IDENTITY, "version": "2"}) is True
    store.close()


def test_other_description_is_refused(complete: Path, path: Path) -> None:
    """An export of another version with another description or new parameters is refused, with the version to use."""
    copy_journal(complete, path)
    store = JournalStore(path, cap=CAP)
    with pytest.raises(UsageError, match="described in another way") as described:
        store.bind({**IDENTITY, "description": "0123"})
    with pytest.raises(UsageError, match="new is known to one of the two versions") as renewed:
        store.bind({**IDENTITY, "version": "2", "new": 5})
    for refused in (described, renewed):
        assert "the version that began it (1;" in refused.value.next_step
    store.close()
