"""One node of a description in the form that the kernel reads; `kernel/columns.h` and `kernel/redact.h` read it."""

from __future__ import annotations

from collections.abc import Sequence

from bulk_export.core.model import Kind

STRING, LIST, OBJECT, DROPPED = b"s", b"l", b"{", b"x"
KINDS = {
    Kind.STRING: STRING,
    Kind.BOOLEAN: b"b",
    Kind.INTEGER: b"i",
    Kind.NUMBER: b"n",
    Kind.TIMESTAMP: b"t",
    Kind.DATE: b"d",
}
PSEUDONYM, REDACTED, UNDESCRIBED = 1, 2, 4
LONGEST_NAME = 200
_MOST_MEMBERS = 256


def written_node(kind: bytes, flags: int, name: str, children: Sequence[bytes] = ()) -> bytes:
    """A node of a description, as the kernel reads it.

    Args:
        kind: A value of `KINDS`, `LIST`, `OBJECT` or `DROPPED`.
        flags: What `kernel/columns.h` defines.
        name: The name of the member; empty for what is none.
        children: The item of a list, or the members of an object.

    Raises:
        ValueError: The kernel does not take the name, or so many members.
    """
    text = name.encode()
    if len(children) > _MOST_MEMBERS or len(text) > LONGEST_NAME or not name.isprintable() or {'"', "\\"} & set(name):
        raise ValueError("a name or a number of members that the kernel does not take")
    sizes = len(text).to_bytes(2, "little") + len(children).to_bytes(2, "little")
    return kind + bytes([flags]) + sizes + text + b"".join(children)
