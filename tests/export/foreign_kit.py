"""Foreign readers and writers of glTF, in Node; tests that need them are skipped where they are not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "foreign"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules").is_dir(),
    reason="foreign glTF readers absent: npm ci in tests/export/foreign",
)


def node(script: str, *arguments: str | Path | float) -> Any:
    """Run a script and parse what it prints."""
    done = subprocess.run(["node", script, *map(str, arguments)], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def splat_transform(*arguments: str | Path) -> None:
    """Run PlayCanvas' converter."""
    script = FOLDER / "node_modules/@playcanvas/splat-transform/bin/cli.mjs"
    done = subprocess.run(["node", script, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def gltf_issues(path: Path) -> list[dict[str, Any]]:
    """What Khronos' validator finds, apart from its not knowing the splat extension and the names of its attributes."""
    (report,) = node("validate.mjs", path)
    unknown = ("UNSUPPORTED_EXTENSION", "UNUSED_OBJECT")
    return [
        issue
        for issue in report["issues"]["messages"]
        if "KHR_gaussian_splatting" not in issue["pointer"] and not (issue["code"] in unknown and issue["severity"] > 1)
    ]
