"""The wheel's build hook: compile the native library and tag the wheel for the platform (any Python 3)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "native"))

from build import TARGETS, compile_library, host_target  # noqa: E402 - the path is set above

LIBRARY = ROOT / "src" / "chronosplat" / "_native" / "libchronosplat.so"


class NativeBuildHook(BuildHookInterface[Any]):
    """Builds for CHRONOSPLAT_TARGET (a name in native/build.py's TARGETS), or for this machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel (or the editable install) is packed; a source distribution carries sources only."""
        if self.target_name != "wheel":
            return
        target = os.environ.get("CHRONOSPLAT_TARGET", host_target())
        compile_library(LIBRARY, target)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{TARGETS[target][1]}"
        build_data["artifacts"] = [str(LIBRARY.relative_to(ROOT))]
