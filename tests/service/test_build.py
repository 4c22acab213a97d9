"""What is built from the sources: a wheel with the kernel or without, installed where nothing else of ours is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import bulk_export

pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]

ROOT = Path(bulk_export.__file__).parent.parent
INSTALLED_KERNEL = "bulk_export/transform/decode/kernel/_kernel"


def build(source: Path, into: Path, what: str = "wheel", **variables: str) -> Path:
    """Build a wheel or an sdist of a source tree, as a front end would."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", "KERNEL", "KERNEL_TARGET")}
    command = [sys.executable, "-m", "hatchling", "build", "--target", what, "--directory", str(into)]
    subprocess.run(command, cwd=source, env=inherited | variables, check=True, capture_output=True, timeout=120)
    (made,) = into.iterdir()
    return made


def version_line(wheel: Path, at: Path, **variables: str) -> tuple[int, str]:
    """Ask a wheel in an environment of its own for its version. Returns the exit code and the output.

    What the package depends on is taken from this environment.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(at)], check=True, timeout=120)
    (packages,) = at.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(packages)
    environment = {"PYTHONPATH": f"{packages}:{sysconfig.get_path('purelib')}", "PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        [at / "bin/python", "-P", "-m", "bulk_export", "--version"],
        cwd=at,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def kernels_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return [name for name in file.namelist() if "/_kernel" in name]


def test_wheel_has_compiled_decoder(tmp_path: Path) -> None:
    """The wheel is for this platform, serves every Python, and leaves the tree that it was built from alone."""
    before = {path: path.stat().st_mtime_ns for path in ROOT.glob(f"{INSTALLED_KERNEL}.*")}
    wheel = build(ROOT, tmp_path / "made", KERNEL="required")
    assert "-py3-none-" in wheel.name
    assert "-any" not in wheel.name
    assert version_line(wheel, tmp_path / "venv") == (0, f"bulk-export {bulk_export.__version__}\ndecoder: compiled\n")
    assert {path: path.stat().st_mtime_ns for path in ROOT.glob(f"{INSTALLED_KERNEL}.*")} == before


@pytest.mark.parametrize("variables", [{"KERNEL": "off"}, {"CC": "/nonexistent"}], ids=["not wanted", "no compiler"])
def test_wheel_without_kernel(tmp_path: Path, variables: dict[str, str]) -> None:
    """It is for any platform, works in Python, and refuses to pass for more."""
    wheel = build(ROOT, tmp_path / "made", **variables)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert kernels_in(wheel) == []
    assert version_line(wheel, tmp_path / "venv") == (0, f"bulk-export {bulk_export.__version__}\ndecoder: python\n")
    code, output = version_line(wheel, tmp_path / "insisting", BULK_EXPORT_DECODER="compiled")
    assert (code, "has no compiled decoder" in output) == (2, True)


def test_sdist_builds_same_wheel(tmp_path: Path) -> None:
    """An sdist holds the sources of the kernel, but no kernel; its wheel holds the same files as that of the tree."""
    sdist = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as file:
        assert [name for name in file.getnames() if "/_kernel" in name] == []
        file.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    from_tree, from_sdist = (build(tree, tmp_path / f"wheel of {tree.name}") for tree in (ROOT, source))
    assert from_tree.name == from_sdist.name
    contents = []
    for wheel in (from_tree, from_sdist):
        with zipfile.ZipFile(wheel) as file:
            contents.append({name: file.read(name) for name in file.namelist() if not name.endswith("/RECORD")})
    assert contents[0].keys() == contents[1].keys()
    assert [name for name in contents[0] if contents[0][name] != contents[1][name] and "/_kernel" not in name] == []


@pytest.mark.parametrize(("variable", "value"), [("KERNEL", "yes"), ("KERNEL_TARGET", "vax-vms")])
def test_unknown_value_fails(tmp_path: Path, variable: str, value: str) -> None:
    """Silence would give a wheel that nobody asked for."""
    with pytest.raises(subprocess.CalledProcessError):
        build(ROOT, tmp_path / "made", **{variable: value})


def test_kernel_that_does_not_compile_fails_if_required(tmp_path: Path) -> None:
    """Where a wheel for a platform is wanted, one for any is no substitute."""
    with pytest.raises(subprocess.CalledProcessError):
        build(ROOT, tmp_path / "made", KERNEL="required", CC="false")
