"""Builds a wheel for every platform of `hatch_build.PLATFORMS` into `dist/`, and the sdist, and checks each of them.

Run by `make wheels`, in an environment that has the packages of `.ci/wheels.txt`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
sys.path.insert(0, str(ROOT))
from hatch_build import KERNEL, PLATFORMS

# How a library begins that a platform can load: the format, and where and what it says of the processor.
FORMATS = {
    ("linux", "x86_64"): (b"\x7fELF\x02\x01", 18, b"\x3e\x00"),
    ("linux", "aarch64"): (b"\x7fELF\x02\x01", 18, b"\xb7\x00"),
    ("macos", "x86_64"): (b"\xcf\xfa\xed\xfe", 4, b"\x07\x00\x00\x01"),
    ("macos", "aarch64"): (b"\xcf\xfa\xed\xfe", 4, b"\x0c\x00\x00\x01"),
    ("windows", "x86_64"): (b"MZ", None, b"PE\x00\x00\x64\x86"),
}


def build(what: str, source: Path, **variables: str) -> Path:
    """Build a wheel or an sdist of `source`. Returns the only file that this makes."""
    with tempfile.TemporaryDirectory() as made:
        command = [sys.executable, "-m", "build", "--no-isolation", f"--{what}", "--outdir", made, str(source)]
        ours = {name: value for name, value in os.environ.items() if name not in ("KERNEL", "KERNEL_TARGET", "CC")}
        done = subprocess.run(command, env={**ours, **variables}, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{what} {variables}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        (file,) = Path(made).iterdir()
        DIST.mkdir(exist_ok=True)
        return Path(shutil.move(file, DIST / file.name))


def check(wheel: Path, target: str) -> None:
    """Check the tags of a wheel, and that it holds one kernel, for this platform."""
    tag, ending = PLATFORMS[target]
    processor, system = target.split(".")[0].split("-")[:2]
    begin, at, machine = FORMATS[system, processor]
    assert wheel.name.endswith(f"-py3-none-{tag}.whl"), wheel.name
    with zipfile.ZipFile(wheel) as file:
        (described,) = [name for name in file.namelist() if name.endswith(".dist-info/WHEEL")]
        tags = {line.removeprefix("Tag: ") for line in file.read(described).decode().splitlines() if "Tag: " in line}
        kernels = [name for name in file.namelist() if "/_kernel" in name]
        library = file.read(f"{KERNEL.as_posix()}/_kernel{ending}")
    assert tags == {f"py3-none-{one}" for one in tag.split(".")}, tags
    assert kernels == [f"{KERNEL.as_posix()}/_kernel{ending}"], kernels
    assert library.startswith(begin), library[:8]
    assert machine in library[:1024] if at is None else library[at:].startswith(machine), library[:32]
    assert b"kernel_version" in library


def main() -> None:
    """Build and check everything, from what the sdist holds."""
    sdist = build("sdist", ROOT)
    with tempfile.TemporaryDirectory() as unpacked:
        with tarfile.open(sdist) as file:
            assert not [name for name in file.getnames() if "/_kernel." in name]
            file.extractall(unpacked, filter="data")
        (source,) = Path(unpacked).iterdir()
        for target in PLATFORMS:
            wheel = build("wheel", source, KERNEL_TARGET=target)
            check(wheel, target)
            print(wheel.name)
        wheel = build("wheel", source, KERNEL="off")
        assert wheel.name.endswith("-py3-none-any.whl"), wheel.name
        print(wheel.name)


if __name__ == "__main__":
    main()
