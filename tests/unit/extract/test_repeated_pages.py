"""Pages that show the records of another page."""

from __future__ import annotations

from bulk_export.core.model import Endpoint
from bulk_export.extract.repeated_pages import RepeatedPages
from bulk_export.transform.decode import RecordShaper, content_of
from tests.support.paged_list import ENDPOINT

IDENTIFIED = [b'{"id":"a","type":"x","attributes":{}}']


def repeated_pages(endpoint: Endpoint = ENDPOINT) -> RepeatedPages:
    return RepeatedPages(endpoint, RecordShaper(endpoint))


def test_content_does_not_depend_on_the_order() -> None:
    """Ties may come in another order each time; a record that comes twice is another content."""
    assert content_of([b"1", b"2"]) == content_of([b"2", b"1"])
    assert content_of([b"1"]) != content_of([b"1", b"1"])


def test_a_page_repeats_what_counts_on_another() -> None:
    pages, content = repeated_pages(), content_of(IDENTIFIED)
    pages.enter(content, 1)
    assert (pages.page_with(content, 3), pages.page_with(content + 1, 3)) == (1, 3)
    pages.add(3, content, IDENTIFIED)
    assert (list(pages), pages.repeats(3, content), pages.repeated_by(3)) == ([3], True, 1)
    pages.discard(3)
    assert 3 not in pages


def test_another_content_makes_repetitions_doubtful() -> None:
    """What repeated the former content of a page may hold something else, too."""
    pages = repeated_pages()
    pages.enter(1, 1)
    pages.add(3, 1, IDENTIFIED)
    pages.add(4, 2, IDENTIFIED)
    assert pages.replace(1, 9) == [3]
    assert (list(pages), pages.has_seen(1)) == ([4], False)
