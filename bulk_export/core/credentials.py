"""The bearer token, held so that it cannot be printed by accident."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path

from bulk_export.core.masking import Masker
from bulk_export.core.text_encoding import decode_text
from bulk_export.errors import UsageError

TOKEN_VARIABLE = "BULK_EXPORT_TOKEN"
# Servers take header lines of about 8 KiB; real tokens are far shorter.
_LONGEST = 4096
# White space, and the byte order mark that some editors and shells put in front.
_AROUND = " \t\r\n\v\f\ufeff"


class Token:
    """A bearer token. Its repr, str and pickled form hold no part of it; `reveal` gives it away."""

    __slots__ = ("_masker", "_secret")

    def __init__(self, secret: str) -> None:
        if not 0 < len(secret) <= _LONGEST or any(not " " < character < "\x7f" for character in secret):
            raise UsageError(
                "The token is empty, far too long, or holds characters that no header can carry.",
                next_step="A token is one word of printable ASCII, as the service issued it.",
            )
        self._secret = secret
        self._masker: Masker | None = None

    def mask(self, text: str) -> str:
        """A text of the service's with `[token]` wherever it repeats the token, in whatever encoding."""
        if self._masker is None:
            self._masker = Masker(self._secret)
        return self._masker.mask(text)

    def reveal(self) -> str:
        """The token itself, for the Authorization header and for keyed hashing only."""
        return self._secret

    def __repr__(self) -> str:
        return "Token(…)"

    def __reduce__(self) -> str:
        raise TypeError("a token is not to be stored")


class ReadableByOthers(UserWarning):
    """A file of secrets that other users of this machine may read."""


def find_token(token_file: str | os.PathLike[str] | None, environment: Mapping[str, str]) -> Token:
    """The token from `token_file`, else from the variable BULK_EXPORT_TOKEN.

    Raises UsageError where there is none; warns ReadableByOthers where the file's mode is too wide.
    """
    if token_file is not None:
        return _from_file(Path(token_file))
    secret = environment.get(TOKEN_VARIABLE, "").strip(_AROUND)
    if not secret:
        raise UsageError(
            "There is no token.",
            next_step=f"Put it in a file only you can read and name that with --token-file, or set {TOKEN_VARIABLE}.",
        )
    return Token(secret)


def read_pseudonym_key(path: str | os.PathLike[str]) -> bytes:
    """The secret in a file, without the line end that editors add. Warns where others can read it."""
    return _content(Path(path), "pseudonym key").rstrip(b"\r\n")


def _from_file(path: Path) -> Token:
    try:
        secret = decode_text(_content(path, "token")).strip(_AROUND)
    except UnicodeDecodeError:
        secret = "\x00"
    if not secret:
        raise UsageError(f"The token file {path} is empty.", next_step="It must hold the token and nothing else.")
    return Token(secret)


def _content(path: Path, secret: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(2 * _LONGEST)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "that is not a name"
        raise UsageError(
            f"The {secret} file {str(path)!r} cannot be read: {reason}.",
            next_step=f"Name a file that holds the {secret} and nothing else.",
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        warnings.warn(
            f"the {secret} file {path} can be read by other users of this machine; chmod 600 {path}",
            ReadableByOthers,
            stacklevel=4,
        )
    return content
