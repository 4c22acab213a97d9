"""singer-sdk: a REST tap with page numbers, its messages on standard output.

    run.py messages[-tuned] BASE_URL RECORDS PAGE_SIZE DIRECTORY

`tuned`: messages written with msgspec, no conformance of types, orjson for the answers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import requests
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.pagination import PageNumberPaginator

mode, base_url, _, page_size, _ = sys.argv[1:]
TUNED = mode.endswith("-tuned")
STRINGS = (
    "course_identifier email employer_name employment_role full_name funding_choice headteacher_status "
    "ineligible_for_funding_reason participant_id private_childcare_provider_urn teacher_reference_number school_urn "
    "school_ukprn status reason_for_rejection cohort cohort_suffix teacher_catchment_country "
    "teacher_catchment_iso_country_code itt_provider schedule_identifier"
)
BOOLEANS = (
    "email_validated teacher_reference_number_validated works_in_school eligible_for_funding "
    "targeted_delivery_funding_eligibility teacher_catchment lead_mentor funded_place works_as_senco"
)


class Pages(PageNumberPaginator):
    def has_more(self, response: requests.Response) -> bool:
        return len(response.content) > len(b'{"data":[]}')


class Applications(RESTStream[int]):
    name = "npq_applications"
    path = "/api/v3/npq-applications"
    primary_keys = ("id",)
    records_jsonpath = "$.data[*]"
    url_base = base_url
    schema = th.PropertiesList(
        th.Property("id", th.StringType, required=True),
        th.Property("type", th.StringType),
        th.Property(
            "attributes",
            th.ObjectType(
                *(th.Property(one, th.StringType) for one in STRINGS.split()),
                *(th.Property(one, th.BooleanType) for one in BOOLEANS.split()),
                *(th.Property(one, th.DateTimeType) for one in ("created_at", "updated_at")),
                th.Property("senco_start_date", th.DateType),
            ),
        ),
    ).to_dict()
    if TUNED:
        TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        return BearerTokenAuthenticator(token="benchmark")

    def get_new_paginator(self) -> Pages:
        return Pages(1)

    def get_url_params(self, context: Any, next_page_token: int | None) -> dict[str, Any]:
        return {"page[page]": next_page_token, "page[per_page]": page_size}

    if TUNED:

        def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
            import orjson

            yield from orjson.loads(response.content)["data"]


class Applicants(Tap):
    name = "tap-npq"
    config_jsonschema = th.PropertiesList().to_dict()
    if TUNED:
        from singer_sdk.contrib.msgspec import MsgSpecWriter

        message_writer_class = MsgSpecWriter

    def discover_streams(self) -> list[Applications]:
        return [Applications(self)]


Applicants(config={}).sync_all()
