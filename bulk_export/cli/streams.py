"""The standard streams of a process, which may be closed, full, or read by nobody.

closed      the kernel gives its number to the next file that is opened, so that messages would end up in a database
unread      the reader of a pipe is gone (EPIPE), or the terminal is (EIO)
full        output is redirected to a disk that has no space left (ENOSPC)
"""

from __future__ import annotations

import errno
import json
import os
import sys
from typing import TYPE_CHECKING

import typer

from bulk_export.errors import LocalFailure
from bulk_export.progress.console import Console, between_words

if TYPE_CHECKING:
    from bulk_export.progress.observer import ExportSummary

_NAMES = ("stdin", "stdout", "stderr")
_NARROWEST = 20
_IS_WINDOWS = os.name == "nt"


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, and let no stream fail on a character.

    Call this before anything else is opened.
    """
    for descriptor, name in enumerate(_NAMES):
        try:
            os.fstat(descriptor)
        except OSError:
            # This gets the lowest free number: all below it are open.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if descriptor and reconfigure is not None:
            # A redirected stream of Windows has an encoding of its own, in which names of files may not be said.
            encoding = "utf-8" if _IS_WINDOWS and not getattr(sys, name).isatty() else None
            reconfigure(encoding=encoding, errors="surrogateescape" if name == "stdout" else "backslashreplace")


def show(text: str | bytes) -> None:
    """Write a line to standard output. It is no failure if the reader has left.

    Raises:
        LocalFailure: It cannot be written, for example because the disk behind a redirect is full.
    """
    try:
        typer.echo(text)
    except OSError as error:
        failure = lost_output(error)
        if failure is not None:
            raise failure from None


def show_lines(text: str) -> None:
    """Write lines for people to standard output, broken between words where a terminal would cut one.

    Raises:
        LocalFailure: As for `show`.
    """
    width = Console(sys.stdout).width
    # A terminal of no known size says 0.
    if width is not None and width >= _NARROWEST:
        text = "\n".join(between_words(line, width) for line in text.split("\n"))
    show(text)


def show_result(text: str | bytes, console: Console) -> None:
    """Write the last line of finished work to standard output; failing to do so only warns, since the work is done."""
    try:
        show(text)
    except LocalFailure as failure:
        console.line(failure.what, level="warning")


def show_export(summary: ExportSummary, console: Console, *, as_json: bool) -> None:
    """Write the directory of a finished export to standard output, or its summary as one JSON object."""
    if not as_json:
        show_result(os.fsencode(summary.output), console)
        return
    from bulk_export.progress.summary import summary_object

    show_result(json.dumps(summary_object(summary)), console)


def lost_output(error: OSError) -> LocalFailure | None:
    """Return the failure for an unsuccessful write to standard output, None if its reader has left.

    Everything written to it from now on is discarded.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    # Windows calls a pipe without a reader an invalid argument.
    if isinstance(error, BrokenPipeError) or (_IS_WINDOWS and error.errno == errno.EINVAL):
        return None
    return LocalFailure(
        f"Standard output cannot be written to: {error.strerror}.",
        next_step="Make room where it is redirected to, or redirect it elsewhere.",
    )
