"""Records as NDJSON lines, as they were sent."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

# A string, which is kept, or white space outside of one, which is not.
_STRING_OR_WHITESPACE = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+', re.DOTALL)


def compact(body: bytes, records: Sequence[bytes]) -> Sequence[bytes]:
    """The records of a page without white space between tokens, every token in the bytes it was sent as."""
    try:
        if len(msgspec.json.format(body, indent=-1)) == len(body):
            return records
        return [msgspec.json.format(record, indent=-1) for record in records]
    except (msgspec.DecodeError, RecursionError):
        return [_STRING_OR_WHITESPACE.sub(rb"\1", record) for record in records]
