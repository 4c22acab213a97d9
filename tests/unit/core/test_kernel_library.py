"""The kernel is loaded only if it is the one that these sources ask for; otherwise pages are decoded in Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xxhash

from bulk_export.core import kernel_library
from bulk_export.core.kernel_library import DECODER_VARIABLE, check_decoder, decoder_name, load_kernel
from bulk_export.errors import UsageError

NEEDS_KERNEL = pytest.mark.skipif(not kernel_library._library_file().exists(), reason="the kernel is not built")
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test loads the kernel anew, and the next module does so, too."""
    monkeypatch.delenv(DECODER_VARIABLE, raising=False)
    monkeypatch.setattr(kernel_library._Warning, "was_given", False)
    load_kernel.cache_clear()
    yield
    monkeypatch.undo()
    load_kernel.cache_clear()


def of_another_project(file: Path) -> None:
    """A library that has none of the functions."""
    shutil.copyfile(xxhash._xxhash.__file__, file)


def of_version(version: int) -> Callable[[Path], None]:
    def compile_into(file: Path) -> None:
        source = file.with_suffix(".c")
        source.write_text(f"long long kernel_version(void) {{ return {version}; }}\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", file, source], check=True, timeout=30)

    return compile_into


UNUSABLE = [
    pytest.param(lambda file: None, id="nothing"),
    pytest.param(lambda file: file.write_bytes(b""), id="empty file"),
    pytest.param(lambda file: file.write_bytes(b"\x7fELF" + bytes(5000)), id="damaged file"),
    pytest.param(Path.mkdir, id="folder"),
    pytest.param(of_another_project, id="another library"),
    pytest.param(of_version(kernel_library._VERSION + 1), id="newer version", marks=NEEDS_COMPILER),
    pytest.param(of_version(kernel_library._VERSION - 1), id="older version", marks=NEEDS_COMPILER),
    pytest.param(of_version(kernel_library._VERSION), id="functions missing", marks=NEEDS_COMPILER),
]


@pytest.mark.parametrize("made_by", UNUSABLE)
def test_unusable_library_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by: Callable[[Path], object]
) -> None:
    """Pages are then decoded in Python, which is said once, and whoever insists on the kernel is told."""
    file = tmp_path / "_kernel.so"
    made_by(file)
    monkeypatch.setattr(kernel_library, "_library_file", lambda: file)
    warnings: list[str] = []
    check_decoder(warnings.append)
    check_decoder(warnings.append)
    assert decoder_name() == "python"
    (warning,) = warnings
    assert "no compiled decoder" in warning
    load_kernel.cache_clear()
    monkeypatch.setenv(DECODER_VARIABLE, "compiled")
    with pytest.raises(UsageError, match="no compiled decoder"):
        decoder_name()


@NEEDS_KERNEL
@pytest.mark.parametrize("wanted", ["", " ", "compiled"])
def test_kernel_that_was_built_is_used(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """An empty variable counts as not set."""
    monkeypatch.setenv(DECODER_VARIABLE, wanted)
    check_decoder(pytest.fail)
    assert decoder_name() == "compiled"


def test_python_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is warned of what they asked for."""
    monkeypatch.setenv(DECODER_VARIABLE, "python")
    check_decoder(pytest.fail)
    assert decoder_name() == "python"


@pytest.mark.parametrize("wanted", ["fast", "Python", "1"])
def test_unknown_decoder_is_refused(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """A typing error must not choose the slow one silently."""
    monkeypatch.setenv(DECODER_VARIABLE, wanted)
    with pytest.raises(UsageError, match="must be compiled or python"):
        check_decoder(pytest.fail)


def test_name_of_decoder_needs_no_arrow() -> None:
    """`--version` answers at once."""
    program = (
        "import sys; from bulk_export.core.kernel_library import decoder_name; decoder_name();"
        " print('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"
