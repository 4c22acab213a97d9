"""Columns that outgrow their offsets, with a kernel that is compiled to have small ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bulk_export.core import kernel_library
from bulk_export.transform import schema
from bulk_export.transform.decode import Drift
from bulk_export.transform.decode.compiled_path import CompiledDecoder
from bulk_export.transform.redaction import NO_REDACTION
from tests.support.described import THINGS, page, record

SOURCE = Path(kernel_library.__file__).parent.parent / "transform/decode/kernel/kernel.c"

pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> kernel_library.Kernel:
    file = tmp_path_factory.mktemp("limited") / "_kernel.so"
    options = ["-shared", "-fPIC", "-std=c11", "-O1", "-DLARGEST_OFFSET=4096"]
    subprocess.run(["cc", *options, "-o", file, SOURCE], check=True, timeout=120)
    loaded = kernel_library._load(file)
    assert loaded is not None
    return loaded


LARGE = {
    "text": record(name="x" * 5000),
    "rows of a list": record(years=[1] * 5000),
    "text of a list": record(aliases=["xxxxx"] * 1000),
    "what is left over": record(new="x" * 5000),
}


@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE.keys())
def test_page_beyond_offsets_is_declined(kernel: kernel_library.Kernel, large: object) -> None:
    """The exact way then says what becomes of it; memory is not short, and the pages in front of it are taken."""
    decoder = CompiledDecoder(kernel, THINGS, NO_REDACTION, schema.arrow_schema(THINGS))
    small = page(record(name="small", years=[1], aliases=["a"], new=1))
    block = decoder.decode([small, page(large), small], Drift())
    assert block.rows_per_page == [1]
    block.batch.validate(full=True)
    assert block.batch.column("name").to_pylist() == ["small"]
