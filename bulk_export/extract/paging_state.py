"""What a journal keeps of a sweep besides its pages: the name of the fact, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MOST = 2**53


def paging_fact(endpoint: str, sweep: int) -> str:
    """The name under which a journal keeps the `state` of a sweep."""
    return f"paging/{endpoint}/{sweep}"


def parse_state(text: str) -> Mapping[str, Any]:
    """What `Sweep.state` said. Raises ValueError, TypeError or AttributeError for any other text."""
    facts = json.loads(text)
    plan = facts["plan"]
    numbers = [*map(int, plan["answers"]), *plan["answers"].values()]
    numbers += [facts.get("first") or 0, plan["looked_behind"] or 0]
    switches = (facts["only_first_page"], facts["suspicious_end"], facts["stray_answers"])
    if not all(type(number) is int and 0 <= number < _MOST for number in numbers):
        raise ValueError("no numbers of pages")
    if not all(type(one) is bool for one in (*switches, plan["clamp_checked"], plan["raised"])):
        raise TypeError("neither true nor false")
    if facts.get("style", "pages") not in ("pages", "offset"):
        raise ValueError("no way to ask for pages")
    return dict(facts)
