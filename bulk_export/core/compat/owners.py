"""Owners of files and the rights of others, as far as a system tells them in the status of a file.

Windows does not: it reports every file as user 0's, open to all. There, access lists decide, and a file has that of
its directory. A directory that is made with mode 0700 gets a list of its own, for its user and administrators, by the
releases of Python that can (3.11.10, 3.12.4, 3.13).
"""

from __future__ import annotations

import os
import stat


def has_owners() -> bool:
    """Whether the status of a file tells its owner and mode."""
    return hasattr(os, "geteuid")


def is_foreign(status: os.stat_result) -> bool:
    """Whether a file belongs to another user; False where that is not told."""
    return status.st_uid != os.geteuid() if hasattr(os, "geteuid") else False


def rights_of_others(mode: int, rights: int) -> int:
    """Return which of some permissions a file's mode gives to group and others; none where modes tell nothing.

    Args:
        mode: The mode of the file.
        rights: The permissions that matter, such as 0o077.
    """
    return stat.S_IMODE(mode) & rights if has_owners() else 0
