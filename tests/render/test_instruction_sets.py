"""All instruction sets of the native library render the same image and gradients."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.render.cpu import isa_level

CPUINFO = Path("/proc/cpuinfo")
SCRIPT = """
import sys, numpy
from chronosplat.render.cpu import isa_level
from tests.render.test_instruction_sets import image_and_gradient
rgb, gradient = image_and_gradient()
numpy.savez(sys.argv[1], level=isa_level(), rgb=rgb, gradient=gradient)
"""


def image_and_gradient() -> tuple[torch.Tensor, torch.Tensor]:
    """An image of 300 Gaussians, 40x40, and the gradient of its sum of squares for the means."""
    from chronosplat.cameras import orbit
    from chronosplat.render import RasterInputs, rasterize

    generator = torch.Generator().manual_seed(3)
    means = (torch.randn(1, 300, 3, generator=generator) * 0.3).requires_grad_()
    quats, colors = torch.randn(1, 300, 4, generator=generator), torch.rand(1, 300, 3, generator=generator)
    scales, opacities = torch.rand(1, 300, 3, generator=generator) * 0.06, torch.rand(1, 300, generator=generator)
    cameras = orbit([20.0], 10.0, 40)
    out = rasterize(RasterInputs(means, quats, scales, opacities, colors, cameras.viewmats[None], cameras.Ks[None], 40, 40), "cpu")
    (out.rgb**2).sum().backward()
    assert means.grad is not None
    return out.rgb.detach(), means.grad


@pytest.mark.skipif(platform.machine() != "x86_64" or not CPUINFO.is_file(), reason="needs Linux on x86-64 to name the flags")
@pytest.mark.skipif("CHRONOSPLAT_ISA" in os.environ, reason="a narrower instruction set is forced")
def test_the_widest_instruction_set_of_the_processor_is_used() -> None:
    flags = set(next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")).split())
    wide = [3] * ({"avx2", "fma"} <= flags) + [4] * ({"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags)
    assert isa_level() == max([2, *wide])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="one build only on this processor")
@pytest.mark.parametrize("level", [2, 3])
def test_narrower_instruction_sets_agree(level: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    if isa_level() < level:
        pytest.skip(f"this processor has level {isa_level()} only")
    path = tmp_path_factory.mktemp("isa") / "out.npz"
    subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env={**os.environ, "CHRONOSPLAT_ISA": str(level)})
    found = np.load(path)
    rgb, gradient = torch.from_numpy(found["rgb"]), torch.from_numpy(found["gradient"])
    expected_rgb, expected_gradient = image_and_gradient()
    assert int(found["level"]) == level
    decided = (rgb - expected_rgb).abs() < 2e-5
    assert float(decided.float().mean()) > 0.999  # a pixel on a threshold may fall either way
    assert float((gradient - expected_gradient).norm() / expected_gradient.norm()) < 2e-5
