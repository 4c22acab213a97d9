"""A terminal of some columns: what programs write to it, and what stands on its screen in the end."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")
_ROWS = 40


@dataclass(frozen=True)
class Terminal:
    """The end for programs, and the number of columns."""

    stream: TextIO
    columns: int
    reading: int

    def screen(self) -> list[str]:
        """Return the lines on the screen. A line that is too wide goes on in the next one, as terminals do it."""
        self.stream.flush()
        written = b""
        while select.select([self.reading], [], [], 0.05)[0]:
            written += os.read(self.reading, 65_536)
        return _lines(written.decode(), self.columns)


@contextmanager
def open_terminal(columns: int) -> Iterator[Terminal]:
    """Open a terminal."""
    reading, writing = os.openpty()
    try:
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        with os.fdopen(writing, "w") as stream:
            yield Terminal(stream, columns, reading)
    finally:
        os.close(reading)


def _lines(text: str, columns: int) -> list[str]:
    """Follow the control sequences that displays use: up, erase, and the ends of lines."""
    rows: list[list[str]] = [[]]
    row = column = position = 0
    while position < len(text):
        control = _CONTROL.match(text, position)
        character = text[position]
        position = control.end() if control else position + 1
        if control and control[2] == "A":
            row = max(0, row - int(control[1] or 1))
        elif control and control[2] == "K":
            rows[row] = [] if control[1] == "2" else rows[row][:column]
        elif control:
            continue
        elif character == "\n":
            row += 1
        elif character == "\r":
            column = 0
        else:
            row, column = (row + 1, 0) if column >= columns else (row, column)
            rows += [[] for _ in range(row + 1 - len(rows))]
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = character
            column += 1
        rows += [[] for _ in range(row + 1 - len(rows))]
    return ["".join(cells).rstrip() for cells in rows]
