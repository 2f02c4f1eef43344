"""Time and memory of one forward pass of the full-size L4GM with random weights.

    python benchmarks/l4gm.py --frames 1 --precision float32 --repeat 3

Prints one JSON object: seconds of every repetition, floating-point operations, peak memory of the whole process (CUDA: of the
device) and the package's estimate of it.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from chronosplat.models.l4gm import L4GM, L4GMConfig, forward_bytes, input_maps


def random_model(precision: torch.dtype, device: str) -> L4GM:
    """The full-size network, weights drawn small."""
    with torch.device("meta"):
        model = L4GM(L4GMConfig())
    model = model.to_empty(device=device).lowered(precision)
    for parameter in model.parameters():
        parameter.data.uniform_(-0.02, 0.02)
    return model.eval()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--flops", action="store_true", help="count operations (one more pass)")
    arguments = parser.parse_args()
    dtype = getattr(torch, arguments.precision)
    model = random_model(dtype, arguments.device)
    maps = input_maps(torch.rand(1, arguments.frames, 4, 256, 256, 3), model.config).to(arguments.device)
    run = torch.compile(model) if arguments.compile else model
    seconds = []
    with torch.no_grad():
        for _ in range(arguments.repeat):
            started = time.perf_counter()
            run(maps)
            if arguments.device != "cpu":
                torch.cuda.synchronize()
            seconds.append(round(time.perf_counter() - started, 3))
    peak = torch.cuda.max_memory_allocated() if arguments.device != "cpu" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "frames": arguments.frames,
        "precision": arguments.precision,
        "device": arguments.device,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "peak_gib": round(peak / 2**30, 2),
        "predicted_gib": round(forward_bytes(model.config, arguments.frames, dtype) / 2**30, 2),
    }
    if arguments.flops:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(maps)
        result["tera_operations"] = round(counter.get_total_flops() / 1e12, 2)
        result["tera_operations_a_second"] = round(counter.get_total_flops() / 1e12 / min(seconds), 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
