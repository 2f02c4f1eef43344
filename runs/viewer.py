"""Make the image of docs/viewer.md: viewer.html with a fox, in headless Chromium.

    python runs/viewer.py ASSETS docs/images/viewer.png

ASSETS: a folder with q_animals_fox.glb (Quaternius, CC0). Needs node, chromium, and playwright-core (npm ci in web/).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from chronosplat.assets import GltfModel
from chronosplat.evaluate.setups import SETUPS
from chronosplat.evaluate.studio import MeshStudio
from chronosplat.refine import BEST, fit
from chronosplat.viewer import write_page

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, SIZE, SHARE = 1280, 760, 256, 0.4  # of the screen, of the capture, and the share of the scene's time


def write_fox(assets: Path, page: Path) -> float:
    """Reconstruct a capture by eight cameras by ``--quality high``, and write its page; returns the seconds to show."""
    split = SETUPS["dense8"].split(MeshStudio(GltfModel(assets / "q_animals_fox.glb", "AnimalArmature|Gallop_Jump"), "fox", SIZE))
    views, scene = split.inputs, fit(split.inputs, BEST).scene
    write_page(scene, page, views.cameras, views.times, views.pixels, title="Fox")
    first, last = scene.seconds or (0.0, 0.0)
    return first + SHARE * (last - first)


def screenshot(page: Path, seconds: float, output: Path) -> None:
    """Open the page, turn the scene, open the list of input cameras, and save what the screen shows."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    actions = [
        {"action": "open", "url": page.resolve().as_uri(), "width": WIDTH, "height": HEIGHT},
        {"action": "ready"},
        {"action": "drag", "from": [640, 500], "to": [585, 510]},
        {"action": "wheel", "at": [640, 400], "delta": -160},
        {"action": "click", "selector": "[data-panel=cameras]"},
        {"action": "click", "selector": "#frusta"},
        {"action": "evaluate", "code": f"viewer.player.pause(), viewer.player.seek({seconds})"},
        {"action": "evaluate", "code": "viewer.settled()"},
        {"action": "screenshot", "path": str(output.resolve())},
        {"action": "troubles"},
        {"action": "close"},
    ]
    command = ["node", str(ROOT / "tests/viewer/browser.js"), str(chromium), str(ROOT / "web")]
    lines = "".join(json.dumps(action) + "\n" for action in actions)
    answers = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    wrong = [answer for answer in map(json.loads, answers.splitlines()) if "error" in answer]
    if wrong:
        raise SystemExit(wrong[0]["error"])


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "fox.html"
        screenshot(page, write_fox(arguments.assets, page), arguments.output)


if __name__ == "__main__":
    main()
