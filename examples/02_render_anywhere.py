"""Render a scene at your own cameras and times, differentiably: one gradient step on its colours."""

from __future__ import annotations

from dataclasses import replace

import torch

import chronosplat as cs
from chronosplat.cameras import orbit


def main() -> None:
    """Build Gaussians by hand, render them, and pull their colours towards red."""
    generator = torch.Generator().manual_seed(0)
    count = 500
    scene = cs.Gaussians4D(
        means=torch.randn(count, 3, generator=generator) * 0.2,
        velocities=torch.randn(count, 3, generator=generator) * 0.1,
        time_centers=torch.rand(count, generator=generator),
        time_sigmas=torch.full((count,), 0.3),
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.full((count, 3), 0.02),
        opacities=torch.full((count,), 0.8),
        colors=torch.full((count, 3), 0.5).requires_grad_(),
    )
    cameras = orbit([0, 45, 90], elevations=20, size=96)
    times = [0.0, 0.5, 1.0]
    red = torch.tensor([1.0, 0.0, 0.0])
    before = cs.render(scene, cameras, times)
    loss = ((before.rgb - red) ** 2 * before.alpha).mean()
    loss.backward()
    assert scene.colors.grad is not None
    step = scene.colors.detach() - 200 * scene.colors.grad
    after = cs.render(replace(scene, colors=step.clamp(0, 1)), cameras, times)
    print(f"loss {loss.item():.4f} -> {float(((after.rgb - red) ** 2 * after.alpha).mean()):.4f}")


if __name__ == "__main__":
    main()
