"""Secrets of the user: the bearer token, which cannot be printed by accident, and the key for pseudonyms."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from bulk_export.core.compat.owners import rights_of_others
from bulk_export.core.locations import local_path
from bulk_export.core.masking import Masker
from bulk_export.core.text import decode_text
from bulk_export.errors import UsageError

TOKEN_VARIABLE = "BULK_EXPORT_TOKEN"
# Servers take header lines of about 8 KiB; real tokens are far shorter.
_LONGEST = 4096
# White space, and the byte order mark that some editors and shells put in front.
_AROUND = " \t\r\n\v\f\ufeff"


class Token:
    """A bearer token that neither repr, str nor pickle show; `reveal` returns it.

    Raises:
        UsageError: No header can carry it: it is empty, longer than 4,096 characters, or not one word of printable
            ASCII.
    """

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
        """Replace the token in a text of the service by `[token]`, in whatever encoding it is repeated there."""
        if self._masker is None:
            self._masker = Masker(self._secret)
        return self._masker.mask(text)

    def reveal(self) -> str:
        """The token, for the Authorization header and keyed hashing only."""
        return self._secret

    def __repr__(self) -> str:
        return "Token(…)"

    def __reduce__(self) -> str:
        raise TypeError("a token cannot be pickled")


class ReadableByOthers(UserWarning):
    """Other users of this machine may read or write a file with a secret."""


def find_token(token_file: str | os.PathLike[str] | None, environment: Mapping[str, str]) -> Token:
    """Read the token from a file, or else from an environment variable.

    Args:
        token_file: The file; if it is given, the variable is not used.
        environment: Variables by name, of which BULK_EXPORT_TOKEN is read.

    Returns:
        The token, without white space and byte order marks around it.

    Raises:
        UsageError: There is no usable token, or the file cannot be read.

    Warns:
        ReadableByOthers: The file's mode gives others access.
    """
    if token_file is not None:
        return _from_file(local_path(token_file, "--token-file"))
    secret = environment.get(TOKEN_VARIABLE, "").strip(_AROUND)
    if not secret:
        raise UsageError(
            "There is no token.",
            next_step=f"Put it in a file only you can read and name that with --token-file, or set {TOKEN_VARIABLE}.",
        )
    return Token(secret)


def read_pseudonym_key(path: str | os.PathLike[str]) -> bytes:
    """Read the key for pseudonyms from a file, without the line end that editors add.

    Raises:
        UsageError: The file cannot be read.

    Warns:
        ReadableByOthers: The file's mode gives others access.
    """
    return _content(local_path(path, "--pseudonym-key-file"), "pseudonym key").rstrip(b"\r\n")


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
    if rights_of_others(mode, 0o077):
        warnings.warn(
            f"the {secret} file {path} can be read by other users of this machine; chmod 600 {path}",
            ReadableByOthers,
            stacklevel=4,
        )
    return content
