"""The options of plan: type, default and help of each, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated

from bulk_export.pipelines.arguments import (
    AddressArguments,
    ConsistencyArguments,
    LimitArguments,
    PageSizeArguments,
    PathText,
    ServiceArguments,
    SpeedArguments,
)
from bulk_export.pipelines.declarations import Limits, What


class PlanArguments(
    ServiceArguments,
    AddressArguments,
    PageSizeArguments,
    SpeedArguments,
    LimitArguments,
    ConsistencyArguments,
    total=False,
):
    """The options of an estimate."""

    records: Annotated[
        int | Sequence[str] | Mapping[str, int],
        What("Number of records, for all endpoints; repeat for each.", metavar="[ENDPOINT=]N"),
    ]
    like: Annotated[PathText | None, What("Take the numbers of records from an earlier export.", metavar="DIR|URL")]
    sync: Annotated[bool, What("Estimate `sync` instead: a full sync, and a poll for changes.")]
    changed: Annotated[
        int | Sequence[str] | Mapping[str, int],
        What("With --sync: number of records that change between two polls.", metavar="[ENDPOINT=]N"),
    ]
    latency: Annotated[
        str | float | timedelta, Limits("Time from a request to its response.", metavar="TIME", default="500ms")
    ]
