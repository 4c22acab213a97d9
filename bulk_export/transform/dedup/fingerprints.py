"""Fingerprints: 64 or 96 bits that stand for a record, so that millions of records are compared in bounded memory.

Every row of an export leaves a 64-bit fingerprint of its key with its part. When an endpoint is complete, these are
compared in slices of the hash space: memory depends on the size of a slice and not on the number of records. Records
whose fingerprints repeat are then read again and compared exactly (`resolution`), so a collision costs time and no
record. A stream cannot read again, and uses 96 bits.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import xxhash

from bulk_export.core.kernel_library import Kernel, load_kernel
from bulk_export.transform.decode import HashedIds, Key, Keys

if TYPE_CHECKING:
    import pyarrow as pa

InSlice = Callable[["pa.Array"], "pa.Array"]

_SLICE_ROWS = 1 << 19
# `SeenKeys` distributes 16 of 96 bits over buckets and keeps the other 80 in them.
_BUCKETS = 1 << 16
_KEPT_BYTES = 10


def fingerprints(keys: Iterable[Key]) -> bytes:
    """The 64-bit fingerprint of each key, in order: 8 bytes each, the same on every run."""
    if isinstance(keys, Keys):
        return b"".join(map(fingerprints, keys.pages))
    if isinstance(keys, HashedIds):
        return keys.fingerprints()
    return fingerprints_of(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key for key in keys)


def fingerprints_of(texts: Iterable[bytes]) -> bytes:
    """The 64-bit fingerprint of each text, in order: 8 bytes each, the same on every run."""
    return array("Q", map(xxhash.xxh3_64_intdigest, texts)).tobytes()


def fingerprint_array(blob: bytes) -> pa.Array:
    """Fingerprints as an array of unsigned 64-bit integers."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.uint64(), len(blob) // 8, [None, pa.py_buffer(blob)])


def repeated_fingerprints(blobs: Callable[[], Iterator[bytes]], rows: int) -> frozenset[int]:
    """Find the fingerprints that occur more than once.

    Args:
        blobs: Gives all fingerprints, in pieces, each time it is called; once for each slice.
        rows: How many fingerprints there are.
    """
    kernel = load_kernel()
    find = _repeated_in_arrow if kernel is None else functools.partial(_repeated_in_kernel, kernel)
    return frozenset(find(blobs, rows))


def slices(rows: int) -> Iterator[InSlice]:
    """Divide the hash space by leading bits, so that each slice holds about half a million of `rows` fingerprints.

    Each slice is a function from an array of fingerprints to an array that says which of them are in it.
    """
    shift, count = _division(rows)
    for leading_bits in range(count):
        yield functools.partial(_in_slice, shift=shift, leading_bits=leading_bits)


class SeenKeys:
    """A set of keys of any length that takes about 12 bytes for each.

    It keeps 96 bits of a hash: among ten million keys, two are confused with a probability of 10^-15.
    """

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def add(self, key: str) -> bool:
        """Add a key. Return whether it is new."""
        digest = xxhash.xxh3_128_digest(key.encode("utf-8", "surrogatepass"))
        bucket = self._buckets[digest[0] << 8 | digest[1]]
        kept = digest[2 : 2 + _KEPT_BYTES]
        position = bucket.find(kept)
        while position > 0 and position % _KEPT_BYTES:  # a match that spans two entries
            position = bucket.find(kept, position + 1)
        if position >= 0:
            return False
        bucket += kept
        return True


class SeenRecords:
    """Tells which records of a stream were in an earlier response.

    Attributes:
        ids_are_shared: Whether a response had the same identity twice. From then on identities do not identify, and
            only a record that repeats an earlier one of its identity byte for byte is seen.
        repeated_without_id: How many records without an identity repeat one of an earlier response byte for byte. Two
            of them may be two records, so they are counted and never taken for one.
    """

    def __init__(self) -> None:
        self.ids_are_shared = False
        self.repeated_without_id = 0
        self._seen = SeenKeys()

    def repeated_rows(self, keys: Sequence[Key], records: Callable[[], Sequence[bytes]]) -> list[int]:
        """Add the records of the next response.

        Args:
            keys: The key of each record.
            records: Gives the records themselves; called only if they are needed.

        Returns:
            The rows that an earlier response had.
        """
        with_id = {row: key for row, key in enumerate(keys) if isinstance(key, str)}
        self.ids_are_shared = self.ids_are_shared or len(set(with_id.values())) < len(with_id)
        if self.ids_are_shared:
            contents = records()
            with_id = {row: f"{key}\0{xxhash.xxh3_128_hexdigest(contents[row])}" for row, key in with_id.items()}
        # The key of a record without an identity is the record. The NUL tells it from an identity.
        without_id = {f"\0{key.hex()}" for key in keys if not isinstance(key, str)}
        self.repeated_without_id += sum(not self._seen.add(key) for key in without_id)
        is_new = {key: self._seen.add(key) for key in dict.fromkeys(with_id.values())}
        return [row for row, key in with_id.items() if not is_new[key]]


def _division(rows: int) -> tuple[int, int]:
    """How many bits a fingerprint has behind those that name its slice, and how many slices there are."""
    count = 1 << max(0, (rows // _SLICE_ROWS).bit_length())
    return 64 - (count.bit_length() - 1), count


def _repeated_in_kernel(kernel: Kernel, blobs: Callable[[], Iterator[bytes]], rows: int) -> Iterator[int]:
    shift, count = _division(rows)
    for leading_bits in range(count):
        values = bytearray()
        for blob in blobs():
            kept = ctypes.create_string_buffer(len(blob))
            size = kernel.concurrent.kernel_slice(blob, len(blob) // 8, shift, leading_bits, kept)
            values += memoryview(kept)[: size * 8]
        found = (ctypes.c_uint64 * (len(values) // 8))()
        given = (ctypes.c_char * len(values)).from_buffer(values)
        yield from found[: kernel.concurrent.kernel_repeated(given, len(found), found)]


def _repeated_in_arrow(blobs: Callable[[], Iterator[bytes]], rows: int) -> Iterator[int]:
    # Not needed before an endpoint is complete, and long to import.
    import pyarrow as pa
    import pyarrow.compute as pc

    for in_slice in slices(rows):
        pieces = [fingerprint_array(blob).filter(in_slice(fingerprint_array(blob))) for blob in blobs()]
        values = pa.concat_arrays([pa.array([], pa.uint64()), *pieces])
        # Sorting takes a third of the memory of counting in a table.
        ordered = values.take(pc.array_sort_indices(values))
        yield from ordered[1:].filter(pc.equal(ordered[1:], ordered[:-1])).to_pylist()


def _in_slice(values: pa.Array, shift: int, leading_bits: int) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if shift == 64:
        return pc.is_valid(values)
    return pc.equal(pc.shift_right(values, pa.scalar(shift, pa.uint64())), pa.scalar(leading_bits, pa.uint64()))
