"""The wheel's build hook: compile the native library and tag the wheel for the platform (any Python 3)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "native"))

from build import TARGETS, compile_library, host_target  # noqa: E402 - the path is set above

LIBRARY = "chronosplat/_native/libchronosplat.so"  # in the wheel, and under src/ for an editable install


class NativeBuildHook(BuildHookInterface[Any]):
    """Builds for CHRONOSPLAT_TARGET (a name in native/build.py's TARGETS), or for this machine."""

    folder: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is packed, outside the checkout, whose own library may be in use; a source distribution has none.

        An editable install runs from the checkout, on this machine: its library goes there.
        """
        if self.target_name != "wheel":
            return
        if version == "editable":
            compile_library(ROOT / "src" / LIBRARY, host_target())
            return
        target = os.environ.get("CHRONOSPLAT_TARGET") or host_target()
        if target not in TARGETS:
            raise SystemExit(f"CHRONOSPLAT_TARGET: expected one of {', '.join(TARGETS)}; got {target!r}")
        self.folder = TemporaryDirectory()
        library = Path(self.folder.name) / Path(LIBRARY).name
        compile_library(library, target)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{TARGETS[target][1]}"
        build_data["force_include"][str(library)] = LIBRARY

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary library, which is in the wheel by now."""
        if self.folder:
            self.folder.cleanup()
