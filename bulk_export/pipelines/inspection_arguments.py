"""The options of what looks and writes nothing: type, default and help of each, declared once."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from bulk_export.pipelines.arguments import (
    AddressArguments,
    BudgetArguments,
    FilterArguments,
    LimitArguments,
    PathText,
    PatienceArguments,
    PrivacyArguments,
    ServiceArguments,
    TokenArguments,
    TransportArguments,
)
from bulk_export.pipelines.declarations import What, Where


class HeadArguments(
    ServiceArguments,
    AddressArguments,
    TokenArguments,
    LimitArguments,
    BudgetArguments,
    PatienceArguments,
    FilterArguments,
    PrivacyArguments,
    TransportArguments,
    total=False,
):
    """The options of a first look."""

    limit: Annotated[int | str, What("Number of records, 1 to 3000.", metavar="N", default=10, short="-n")]
    updated_since: Annotated[
        str | datetime | date | None, What("Only records changed since then: ISO 8601.", metavar="TIME")
    ]


class DoctorArguments(
    ServiceArguments,
    AddressArguments,
    TokenArguments,
    LimitArguments,
    BudgetArguments,
    TransportArguments,
    total=False,
):
    """The options of a diagnosis."""

    output: Annotated[
        PathText, Where("Directory whose disk is looked at.", metavar="DIR", default="output", short="-o")
    ]


class ListingArguments(ServiceArguments, TransportArguments, total=False):
    """The options of a list of endpoints."""


class PublishedArguments(ServiceArguments, AddressArguments, TransportArguments, total=False):
    """The options of a comparison with what a service publishes."""
