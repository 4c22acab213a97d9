"""Whose certificates are trusted beside those of the system: what `--ca-file` may name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.core.locations import local_path
from bulk_export.core.masking import without_password
from bulk_export.errors import UsageError

if TYPE_CHECKING:
    import ssl


def ca_file_of(path: str | os.PathLike[str] | None) -> Path | None:
    """Check the file that `--ca-file` names.

    Args:
        path: A file with certificates in PEM, or None.

    Returns:
        The same as a path.

    Raises:
        UsageError: There are no certificates in it.
    """
    if path is None:
        return None
    ca_file = local_path(path, "--ca-file")
    tls_context(ca_file)
    return ca_file


def tls_context(ca_file: Path) -> ssl.SSLContext:
    """Make a TLS context that trusts the authorities in a file beside those of the system.

    Raises:
        UsageError: There are no certificates in PEM in the file.
    """
    import ssl  # it takes a while, and most exports name no file

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    reason = ""
    try:
        if ca_file.is_file():
            context.load_verify_locations(cafile=ca_file)
        else:
            reason = "is not a file" if ca_file.exists() else "does not exist"
    except ssl.SSLError:
        reason = "holds no certificates in PEM"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {getattr(error, 'strerror', None) or 'that is not a name'}"
    if reason:
        raise UsageError(
            f"The file {without_password(str(ca_file))!r} of --ca-file {reason}.",
            next_step="It must hold certificates as text that begins with -----BEGIN CERTIFICATE-----.",
        )
    return context
