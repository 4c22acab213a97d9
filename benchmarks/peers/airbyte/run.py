"""airbyte-cdk: a declarative source with page increments, its messages on standard output.

run.py messages BASE_URL RECORDS PAGE_SIZE DIRECTORY
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

_, base_url, _, page_size, directory = sys.argv[1:]
NAME = "npq_applications"
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": True,
    "properties": {"id": {"type": "string"}, "type": {"type": "string"}, "attributes": {"type": "object"}},
}
MANIFEST = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": [NAME]},
    "streams": [
        {
            "type": "DeclarativeStream",
            "name": NAME,
            "primary_key": ["id"],
            "schema_loader": {"type": "InlineSchemaLoader", "schema": SCHEMA},
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester",
                    "url_base": base_url,
                    "path": "/api/v3/npq-applications",
                    "http_method": "GET",
                    "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['token'] }}"},
                },
                "record_selector": {
                    "type": "RecordSelector",
                    "extractor": {"type": "DpathExtractor", "field_path": ["data"]},
                },
                "paginator": {
                    "type": "DefaultPaginator",
                    "page_token_option": {
                        "type": "RequestOption",
                        "inject_into": "request_parameter",
                        "field_name": "page[page]",
                    },
                    "page_size_option": {
                        "type": "RequestOption",
                        "inject_into": "request_parameter",
                        "field_name": "page[per_page]",
                    },
                    "pagination_strategy": {
                        "type": "PageIncrement",
                        "page_size": int(page_size),
                        "start_from_page": 1,
                        "inject_on_first_request": True,
                    },
                },
            },
        }
    ],
    "spec": {
        "type": "Spec",
        "connection_specification": {"type": "object", "properties": {"token": {"type": "string"}}},
    },
}
CATALOG = {
    "streams": [
        {
            "stream": {"name": NAME, "json_schema": SCHEMA, "supported_sync_modes": ["full_refresh"]},
            "sync_mode": "full_refresh",
            "destination_sync_mode": "overwrite",
        }
    ]
}

config, catalog = Path(directory) / "config.json", Path(directory) / "catalog.json"
config.write_text(json.dumps({"token": "benchmark"}))
catalog.write_text(json.dumps(CATALOG))
source = ConcurrentDeclarativeSource(
    catalog=ConfiguredAirbyteCatalogSerializer.load(CATALOG),
    config={"token": "benchmark"},
    state=[],
    source_config=MANIFEST,
)
launch(source, ["read", "--config", str(config), "--catalog", str(catalog)])
