"""The kernel under AddressSanitizer and UBSan, on the inputs that fuzzing starts from; `make fuzz-kernel` goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "bulk_export/transform/decode/kernel/kernel.c"
SANITIZED = ["-std=c11", "-g", "-O1", "-fno-strict-aliasing", "-fsanitize=address,undefined", "-fno-sanitize-recover"]

pytestmark = [
    pytest.mark.build,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler"),
]


@pytest.mark.parametrize("options", [[], ["-DKERNEL_PORTABLE"]], ids=["vectors", "portable"])
def test_corpus_is_sound(tmp_path: Path, options: list[str]) -> None:
    """Whichever allocation fails, and with the code for processors whose vectors we do not know."""
    program = tmp_path / "replay"
    subprocess.run(["cc", *SANITIZED, *options, "-o", program, HERE / "replay.c"], check=True, timeout=120)
    files = sorted((HERE / "corpus").iterdir())
    assert 0 < len(files) < 20
    # Leaks are looked for as well: whatever an allocation that fails leaves behind.
    environment = {name: text for name, text in os.environ.items() if name not in ("LD_PRELOAD", "ASAN_OPTIONS")}
    done = subprocess.run([program, *files], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_function_is_fuzzed() -> None:
    """Whatever Python can call is called by the target that fuzzing runs."""
    exported = set(re.findall(r"^EXPORT .*?(kernel_\w+)\(", SOURCE.read_text(), re.MULTILINE))
    fuzzed = (HERE / "fuzz.c").read_text() + (HERE / "checks.h").read_text()
    assert len(exported) > 10
    assert not {name for name in exported if f"{name}(" not in fuzzed}


def test_kernel_has_no_writable_globals(tmp_path: Path) -> None:
    """Any number of threads may decode at once."""
    compiled = tmp_path / "kernel.o"
    subprocess.run(["cc", "-std=c11", "-O1", "-c", "-o", compiled, SOURCE], check=True, timeout=120)
    symbols = subprocess.run(["nm", compiled], check=True, capture_output=True, text=True).stdout
    kinds = {line.split()[-2] for line in symbols.splitlines()}
    # Writable are the data (d) and what begins as zero (b, c).
    assert not {kind for kind in kinds if kind.lower() in "dbc"}
    assert "T" in kinds
