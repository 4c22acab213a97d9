"""Text that a function of the kernel made."""

from __future__ import annotations

import ctypes

_DECLINED = -1


def taken_text(kernel: ctypes.CDLL, text: ctypes.c_void_p, size: int) -> bytes | None:
    """Take over a text, and free it in the kernel.

    Args:
        kernel: The library.
        text: Where the text is, if there is one.
        size: What the function returned: the size of the text, or why there is none.

    Returns:
        The text; None if the kernel declined.

    Raises:
        MemoryError: The system has no memory left.
    """
    if size == _DECLINED:
        return None
    if size < 0:
        raise MemoryError
    try:
        return ctypes.string_at(text, size)
    finally:
        kernel.kernel_free(text)
