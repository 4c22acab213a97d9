"""dlt: its REST source with page numbers, into files.

    run.py parquet|jsonl[-tuned]|parquet-arrow BASE_URL RECORDS PAGE_SIZE DIRECTORY

`tuned` follows its page on performance: large writer buffers, no nested tables, no compression of
what passes between its steps.
`arrow` hands it tables made from pages, which skips its normalising.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

mode, base_url, _, page_size, directory = sys.argv[1:]
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "WARNING",
}
if mode.endswith("-tuned"):
    os.environ |= {
        "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        "NORMALIZE__WORKERS": "1",
        "LOAD__WORKERS": "4",
    }
if mode == "parquet-arrow":
    os.environ["DATA_WRITER__BUFFER_MAX_ITEMS"] = "50000"

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import rest_api_source

PATH = "api/v3/npq-applications"
NAME = "npq_applications"


def paginator() -> PageNumberPaginator:
    return PageNumberPaginator(base_page=1, page_param="page[page]", total_path=None, stop_after_empty_page=True)


def source() -> Any:
    made = rest_api_source(
        {
            "client": {
                "base_url": base_url,
                "auth": {"type": "bearer", "token": "benchmark"},
                "paginator": paginator(),
            },
            "resources": [
                {
                    "name": NAME,
                    "write_disposition": "append",
                    "endpoint": {"path": PATH, "params": {"page[per_page]": int(page_size)}, "data_selector": "data"},
                }
            ],
        }
    )
    if mode.endswith("-tuned"):
        made.max_table_nesting = 0
    return made


@dlt.resource(name=NAME, write_disposition="append")
def tables() -> Iterator[Any]:
    import pyarrow as pa

    client = RESTClient(base_url, auth=BearerTokenAuth("benchmark"), paginator=paginator(), data_selector="data")
    schema = None
    for page in client.paginate(PATH, params={"page[per_page]": int(page_size)}):
        rows = [{"id": record["id"], "type": record["type"], **record["attributes"]} for record in page]
        if not rows:
            continue
        if schema is None:
            inferred = pa.Table.from_pylist(rows).schema
            schema = pa.schema([one.with_type(pa.string()) if one.type == pa.null() else one for one in inferred])
        yield pa.Table.from_pylist(rows, schema=schema)


pipeline = dlt.pipeline(
    pipeline_name="benchmark",
    pipelines_dir=str(Path(directory) / "state"),
    destination=dlt.destinations.filesystem(bucket_url=(Path(directory) / "out").as_uri()),
    dataset_name="copy",
)
pipeline.run(tables() if mode == "parquet-arrow" else source(), loader_file_format=mode.split("-")[0])
