"""Whose certificates are trusted beside those of the system: what `--ca-file` may name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.core.masking import without_password
from bulk_export.errors import UsageError

if TYPE_CHECKING:
    import ssl


def ca_file_of(given: str | os.PathLike[str] | None) -> Path | None:
    """The file that `--ca-file` names, with certificates in it. Raises UsageError."""
    if given is None:
        return None
    path = Path(given)
    trusting(path)
    return path


def trusting(path: Path) -> ssl.SSLContext:
    """A TLS context that trusts the authorities in a file of PEM certificates beside those of the system.

    Raises UsageError where there are none in it.
    """
    import ssl  # it takes a while, and most exports name no file

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    reason = ""
    try:
        if path.is_file():
            context.load_verify_locations(cafile=path)
        else:
            reason = "is not a file" if path.exists() else "does not exist"
    except ssl.SSLError:
        reason = "holds no certificates in PEM"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {getattr(error, 'strerror', None) or 'that is not a name'}"
    if reason:
        raise UsageError(
            f"The file {without_password(str(path))!r} of --ca-file {reason}.",
            next_step="It must hold certificates as text that begins with -----BEGIN CERTIFICATE-----.",
        )
    return context
