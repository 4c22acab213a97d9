"""Which ids were met already, in a fraction of the memory of a set: 96 bits of each, in many small buckets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import xxhash

from bulk_export.transform.decode import Key

_BUCKETS = 1 << 16
_KEPT = 10


class SeenIds:
    """Takes ids of any length in about 12 bytes each.

    Two of ten million ids share their 96 bits once in 10^15 times.
    """

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def add(self, identity: str) -> bool:
        """Whether an id is new; from then on it is not."""
        digest = xxhash.xxh3_128_digest(identity.encode("utf-8", "surrogatepass"))
        bucket = self._buckets[digest[0] << 8 | digest[1]]
        kept = digest[2 : 2 + _KEPT]
        place = bucket.find(kept)
        while place > 0 and place % _KEPT:  # a match across two of them
            place = bucket.find(kept, place + 1)
        if place >= 0:
            return False
        bucket += kept
        return True


class MetBefore:
    """Says which records of a stream an earlier answer showed.

    Once an answer shows an identity twice, identities do not identify (`is_shared`): from then on only what is
    repeated word for word counts. Records without an identity never do; `nameless` is how many of them repeat one of
    an earlier answer word for word.
    """

    def __init__(self) -> None:
        self.is_shared = False
        self.nameless = 0
        self._seen = SeenIds()

    def rows(self, keys: Sequence[Key], records: Callable[[], Sequence[bytes]]) -> list[int]:
        """The rows of the next answer that were met before; `records` gives its records, where they are needed."""
        named = {row: key for row, key in enumerate(keys) if isinstance(key, str)}
        self.is_shared = self.is_shared or len(set(named.values())) < len(named)
        if self.is_shared:
            contents = records()
            named = {row: f"{key}\0{xxhash.xxh3_128_hexdigest(contents[row])}" for row, key in named.items()}
        # The key of a record without an identity is made of its content.
        nameless = {f"\0{key.hex()}" for key in keys if not isinstance(key, str)}
        self.nameless += sum(not self._seen.add(mark) for mark in nameless)
        is_new = {mark: self._seen.add(mark) for mark in dict.fromkeys(named.values())}
        return [row for row, mark in named.items() if not is_new[mark]]
