"""Refine a prediction for longer and longer, measured on held-out views.

python examples/05_refine.py
"""

from __future__ import annotations

import chronosplat as cs
from chronosplat.assets.procedural import procedural_object
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.metrics import mean_psnr


def main() -> None:
    """Print a line for each number of steps."""
    split = alternating_canonical(procedural_object(1, "blob"), size=48, times=16, samples=2)
    predicted = cs.load_model("4d-lrm-mini").reconstruct(split.inputs)
    for steps in (0, 60, 240):
        scene = cs.refine(predicted, split.inputs, steps=steps) if steps else predicted
        rendered = cs.render(scene, split.targets.cameras, split.targets.times).rgb
        print(f"{steps:4d} steps: {mean_psnr(rendered, split.targets.on_white()):.2f} dB on {len(split.targets)} held-out views")


if __name__ == "__main__":
    main()
