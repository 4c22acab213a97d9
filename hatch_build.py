"""Compiles the decoder kernel when the package is built, and names the wheel for the platform it is for.

Without a C compiler the package is built all the same: pages are then decoded in Python, which is several times slower.

    KERNEL=off        leaves the kernel out; KERNEL=required fails where it cannot be compiled
    KERNEL_TARGET=…   compiles for another platform, a name of PLATFORMS, with the compiler of the `ziglang` package
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
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
    """Builds `_kernel.so`, or what it is called on the platform, beside its sources."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the kernel into the tree, from where hatchling takes it into the wheel.

        Raises:
            RuntimeError: The kernel is required, but cannot be compiled.
        """
        wanted, target = os.environ.get("KERNEL", ""), os.environ.get("KERNEL_TARGET")
        folder = Path(self.root) / KERNEL
        for former in folder.glob("_kernel.*"):
            former.unlink()
        if wanted == "off":
            return
        tag, ending = PLATFORMS[target] if target else (_own_tag(), _own_ending())
        library = folder / f"_kernel{ending}"
        failure = _compile(folder / "kernel.c", library, target)
        if failure is not None:
            if wanted == "required" or target:
                raise RuntimeError(f"The decoder kernel cannot be compiled: {failure}")
            self.app.display_warning(f"Pages will be decoded in Python, several times slower: {failure}")
            return
        build_data["artifacts"].append(f"/{KERNEL}/{library.name}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"


def _compile(source: Path, library: Path, target: str | None) -> str | None:
    """Compile the kernel. Returns why it could not be, or None."""
    command = _compiler(target)
    if command is None:
        return "there is no C compiler (cc, or what the variable CC names)"
    position_independent = [] if library.suffix == ".dll" else ["-fPIC"]
    try:
        subprocess.run(  # noqa: S603  # the compiler that the user has
            [*command, *FLAGS, *position_independent, "-o", str(library), str(source)],
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        return f"{command[0]} failed: {error.stderr.strip()[-500:]}"
    except OSError as error:
        return str(error)
    # The import library and the symbols that a linker for Windows leaves beside a DLL.
    for beside in (".lib", ".pdb"):
        library.with_suffix(beside).unlink(missing_ok=True)
    return None


def _compiler(target: str | None) -> list[str] | None:
    if target:
        return [sys.executable, "-m", "ziglang", "cc", "-target", target, "-s"]
    found = shutil.which(os.environ.get("CC", "cc"))
    return None if found is None else [found]


def _own_tag() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _own_ending() -> str:
    return {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
