"""Time and memory of one reconstruction: 24 views of 128x128 to a scene.

python benchmarks/reconstruct.py [--size 128] [--frames 24] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch

import chronosplat as cs
from chronosplat.assets.procedural import procedural_object
from chronosplat.evaluate.setups import alternating_canonical


def main() -> None:
    """Print seconds (the first run, the best run), peak memory of the process, and the scene's size as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="4d-lrm-mini")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    views = alternating_canonical(procedural_object(11, "creature"), arguments.size, arguments.frames).inputs
    model = cs.load_model(arguments.model)
    seconds, scene = [], None
    for _ in range(arguments.repeat):
        started = time.perf_counter()
        scene = model.reconstruct(views)
        seconds.append(time.perf_counter() - started)
    assert scene is not None
    facts = {
        "first_s": round(seconds[0], 2),
        "best_s": round(min(seconds), 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "gaussians": scene.num_gaussians,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
