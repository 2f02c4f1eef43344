"""Render a scene from cameras and at times of your own, differentiably: one gradient step on its colours."""

from __future__ import annotations

from dataclasses import replace

import torch

import chronosplat as cs
from chronosplat.cameras import orbit


def main() -> None:
    """Build a cloud by hand, render it, and pull its colours towards red."""
    generator = torch.Generator().manual_seed(0)
    count = 500
    cloud = cs.Gaussians4D(
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
    before = cs.render(cloud, cameras, times)
    loss = ((before.rgb - red) ** 2 * before.alpha).mean()
    loss.backward()
    assert cloud.colors.grad is not None
    step = cloud.colors.detach() - 200 * cloud.colors.grad
    after = cs.render(replace(cloud, colors=step.clamp(0, 1)), cameras, times)
    print(f"loss {float(loss):.4f} -> {float(((after.rgb - red) ** 2 * after.alpha).mean()):.4f}")


if __name__ == "__main__":
    main()
