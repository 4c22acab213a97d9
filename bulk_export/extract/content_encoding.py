"""Inflating what the service compressed, with a cap on what comes out."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

# isal inflates about 1.6 times as fast as zlib and has the same interface; it is an optional extra.
_zlib: Any = importlib.import_module("isal.isal_zlib" if importlib.util.find_spec("isal") else "zlib")

# A zlib window of 15 bits plus 16 selects the gzip container (zlib manual, inflateInit2).
_GZIP = 31


class Undecodable(ValueError):
    """A body that does not inflate to what its header promised, or to more than the cap. `oversized` tells which."""

    def __init__(self, reason: str, *, oversized: bool = False) -> None:
        super().__init__(reason)
        self.oversized = oversized


def inflate(body: bytes, encoding: str, cap: int) -> bytes:
    """The bytes behind a Content-Encoding of `gzip` or `identity`, `cap` bytes at most.

    A gzip body may consist of several members; one that is cut short is refused even where the length
    announced for it matches. Raises Undecodable.
    """
    if encoding in ("", "identity"):
        if len(body) > cap:
            raise Undecodable(f"a body of more than {cap} bytes", oversized=True)
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise Undecodable("a Content-Encoding that was not asked for")
    members: list[bytes] = []
    room = cap
    rest = body
    while True:
        member, rest = _inflate_member(rest, room)
        members.append(member)
        room -= len(member)
        if not rest.strip(b"\0"):
            return members[0] if len(members) == 1 else b"".join(members)


def _inflate_member(compressed: bytes, room: int) -> tuple[bytes, bytes]:
    inflater = _zlib.decompressobj(_GZIP)
    try:
        member: bytes = inflater.decompress(compressed, room + 1)
    except _zlib.error:
        raise Undecodable("a gzip body that is damaged") from None
    if len(member) > room:
        raise Undecodable("a gzip body that inflates beyond the size cap", oversized=True)
    if not inflater.eof:
        raise Undecodable("a gzip body that is cut short")
    return member, inflater.unused_data
