"""Pages decoded by the compiled way and by the exact way."""

from __future__ import annotations

from bulk_export.core.model import Endpoint
from bulk_export.transform import schema
from bulk_export.transform.decode import Decoder, Drift, InvalidPage
from bulk_export.transform.decode.compiled_path import CompiledDecoder, compiled_decoder
from bulk_export.transform.redaction import NO_REDACTION, Redaction
from tests.support.described import THINGS


class Comparison:
    """Decodes pages both ways, and checks that they agree."""

    def __init__(self, described: Endpoint = THINGS, redaction: Redaction = NO_REDACTION) -> None:
        self._exact = Decoder(described, columns=True, lines=None, redaction=redaction, compiled=False)
        made = compiled_decoder(described, redaction, self._exact.schema)
        assert made is not None
        self._compiled: CompiledDecoder = made
        self._without_column = schema.without_column(described)

    def takes(self, body: bytes) -> bool:
        """Whether the compiled way takes a page; what it makes of it is compared."""
        drift = Drift()
        block = self._compiled.decode([body], drift)
        try:
            expected = self._exact.decode([body])
        except InvalidPage:
            assert not block.rows_per_page
            return False
        if not block.rows_per_page:
            assert block.batch.num_rows == 0
            assert drift.to_json() == Drift().to_json()
            return False
        assert expected.batch is not None
        block.batch.validate(full=True)
        # The text tells 0.0 from -0.0.
        assert repr(block.batch.to_pylist()) == repr(expected.batch.to_pylist())
        assert block.batch.equals(expected.batch)
        assert block.rows_per_page == list(expected.rows_per_page)
        for path in self._without_column & drift.unknown.keys():
            del drift.unknown[path]
        assert drift.to_json() == expected.drift.to_json()
        return True
