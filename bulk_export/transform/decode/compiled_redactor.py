"""Lines of redacted records, written by the kernel if it takes the rules and the records.

They are the same bytes that `redactor` makes. `kernel/redact.h` says what is declined.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

from bulk_export.core.kernel_library import Kernel
from bulk_export.transform.decode.description_node import DROPPED, OBJECT, PSEUDONYM, STRING, written_node
from bulk_export.transform.decode.kernel_text import taken_text
from bulk_export.transform.decode.scanned_page import ScannedIds, ScannedRecords
from bulk_export.transform.redaction import RedactionAction, Rule, Rules

_DIGITS = 64


class CompiledRedactor:
    """Applies rules to the records of pages.

    Args:
        kernel: The library.
        rules: The rules for records as they are sent.
        secret: The key of the pseudonyms.

    Raises:
        ValueError: The kernel does not take the rules.
    """

    def __init__(self, kernel: Kernel, rules: Rules, secret: bytes) -> None:
        self._kernel = kernel.concurrent
        description = _node("", rules)
        self._described = self._kernel.kernel_rules(description, len(description), secret, len(secret))
        if not self._described:
            raise ValueError("the kernel does not take the rules")

    def __del__(self) -> None:
        if getattr(self, "_described", None):
            self._kernel.kernel_schema_free(self._described)

    def lines(self, records: ScannedRecords) -> bytes | None:
        """The records with a line end behind each, or None if the kernel declines one of them.

        Args:
            records: Records without white space between tokens.

        Raises:
            MemoryError: The system has no memory left.
        """
        text, body = ctypes.c_void_p(), records.text
        size = self._kernel.kernel_redact(
            self._described, body, len(body), records.bounds, len(records), ctypes.byref(text)
        )
        return taken_text(self._kernel, text, size)

    def pseudonyms(self, ids: ScannedIds) -> list[str]:
        """The pseudonyms of the ids of a page."""
        digits = ctypes.create_string_buffer(_DIGITS * len(ids))
        self._kernel.kernel_pseudonyms(self._described, ids.text, ids.bounds, len(ids), digits)
        text = digits.raw.decode("ascii")
        return [text[begin : begin + _DIGITS] for begin in range(0, len(text), _DIGITS)]


def _node(name: str, rule: Rule) -> bytes:
    if isinstance(rule, Mapping):
        # Members that are dropped stand behind the others.
        nodes = [_node(member, below) for member, below in rule.items()]
        return written_node(OBJECT, 0, name, sorted(nodes, key=lambda node: node.startswith(DROPPED)))
    return written_node(DROPPED, 0, name) if rule is RedactionAction.DROP else written_node(STRING, PSEUDONYM, name)
