"""Compiles the decoder kernel when a wheel is built, and names the wheel for the platform it is for.

Without a C compiler the package is built all the same: pages are then decoded in Python, which is several times slower.

    CC=…              is the compiler, with options if need be
    KERNEL=off        leaves the kernel out; KERNEL=required fails where it cannot be compiled
    KERNEL_TARGET=…   compiles for another platform, a name of PLATFORMS, with the compiler of the `ziglang` package

An editable installation has the kernel in the tree, beside its sources. For a wheel it is compiled elsewhere, so that
building one does not take away what an editable installation runs on.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# By the name of the target: the platform tag of the wheel, and the ending of a shared library there.
PLATFORMS = {
    "x86_64-linux-gnu.2.17": ("manylinux_2_17_x86_64.manylinux2014_x86_64", ".so"),
    "aarch64-linux-gnu.2.17": ("manylinux_2_17_aarch64.manylinux2014_aarch64", ".so"),
    "x86_64-linux-musl": ("musllinux_1_2_x86_64", ".so"),
    "aarch64-linux-musl": ("musllinux_1_2_aarch64", ".so"),
    "x86_64-macos.11.0": ("macosx_11_0_x86_64", ".dylib"),
    "aarch64-macos.11.0": ("macosx_11_0_arm64", ".dylib"),
    "x86_64-windows-gnu": ("win_amd64", ".dll"),
}
KERNEL = Path("bulk_export/transform/decode/kernel")
FLAGS = ("-O3", "-std=c11", "-fvisibility=hidden", "-fno-strict-aliasing", "-shared")


class KernelBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling does not say of what
    """Builds `_kernel.so`, or what it is called on the platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernel, and have it taken into the wheel.

        Raises:
            RuntimeError: The kernel is required, but cannot be compiled; or KERNEL or KERNEL_TARGET is unknown.
        """
        wanted, target = os.environ.get("KERNEL", ""), os.environ.get("KERNEL_TARGET")
        if wanted not in ("", "off", "required"):
            raise RuntimeError(f"KERNEL is {wanted!r}, not off or required")
        if target and target not in PLATFORMS:
            raise RuntimeError(f"KERNEL_TARGET is {target!r}, not one of {', '.join(PLATFORMS)}")
        folder = Path(self.root) / KERNEL
        if version == "editable":
            # What an earlier build left must not pass for what these sources say.
            for former in folder.glob("_kernel.*"):
                former.unlink()
        if wanted == "off":
            return
        tag, ending = PLATFORMS[target] if target else (_own_tag(), _own_ending())
        self._scratch = Path(tempfile.mkdtemp(prefix="bulk-export-kernel-"))
        library = self._scratch / f"_kernel{ending}"
        failure = _compile(folder / "kernel.c", library, target)
        if failure is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            if wanted == "required" or target:
                raise RuntimeError(f"The decoder kernel cannot be compiled: {failure}")
            self.app.display_warning(f"Pages will be decoded in Python, several times slower: {failure}")
            return
        if version == "editable":
            shutil.move(library, folder / library.name)
        else:
            build_data["force_include"][str(library)] = str(KERNEL / library.name)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: the wheel has it now."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    _scratch: Path | None = None


def _compile(source: Path, library: Path, target: str | None) -> str | None:
    """Compile the kernel. Returns why it could not be, or None."""
    command = _compiler(target)
    if command is None:
        return "there is no C compiler (cc, or what the variable CC names)"
    options = [] if library.suffix == ".dll" else ["-fPIC"]
    if sys.platform == "darwin" and not target:
        options.append(f"-mmacosx-version-min={_macos_version()}")
    try:
        subprocess.run(  # noqa: S603  # the compiler that the user has
            [*command, *FLAGS, *options, "-o", str(library), str(source)], check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        return f"{command[0]} failed: {error.stderr.strip()[-500:]}"
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    return None


def _compiler(target: str | None) -> list[str] | None:
    if target:
        return [sys.executable, "-m", "ziglang", "cc", "-target", target, "-s"]
    program, *options = shlex.split(os.environ.get("CC", "")) or ["cc"]
    found = shutil.which(program)
    return None if found is None else [found, *options]


def _own_tag() -> str:
    # Python may be built for both kinds of Mac, but the compiler makes a library for this one.
    if sys.platform == "darwin":
        return f"macosx_{_macos_version()}_{platform.machine()}".replace(".", "_")
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _macos_version() -> str:
    """The oldest version of macOS that this Python, and so what is compiled for it, runs on."""
    oldest = sysconfig.get_platform().split("-")[1]
    return "11.0" if platform.machine() == "arm64" and int(oldest.partition(".")[0]) < 11 else oldest


def _own_ending() -> str:
    return {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
