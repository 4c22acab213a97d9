"""How bodies are stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.extract.content_encoding import Undecodable
from bulk_export.extract.journal.bodies import compressed, unpacked
from tests.support.journals import CAP, stored_page


@pytest.mark.parametrize("gzip", [False, True])
def test_compressed_page_unpacks(gzip: bool) -> None:
    """A page is compressed once, by the service or here, and unpacks to its body."""
    page = stored_page(1, b"x" * 1_000, gzip=gzip)
    packed = compressed(page)
    assert compressed(packed) == packed
    assert len(packed.stored) < 100
    assert unpacked(packed, CAP) == unpacked(page, CAP) == b"x" * 1_000
    with pytest.raises(Undecodable):
        unpacked(replace(packed, stored=packed.stored[:20]), CAP)
