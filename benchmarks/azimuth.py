"""How often the coarse-to-fine azimuth search finds the best of all 360 renderings, and how many it renders.

    python benchmarks/azimuth.py --scenes 150

Random Gaussians; the image shows in turns the same scene, the scene with other colours and means, and another scene.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from chronosplat.cameras import orbit
from chronosplat.models.l4gm import L4GMConfig
from chronosplat.multiview import align
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D

CONFIG = L4GMConfig(input_size=32)


def scene_of(seed: int, count: int = 12) -> Gaussians3D:
    """Gaussians of random colours around the origin."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=random)

    means = 0.8 * (draw(count, 3) - 0.5)
    return Gaussians3D(means, draw(count, 4) - 0.5, 0.03 + 0.1 * draw(count, 3), 0.3 + 0.7 * draw(count), draw(count, 3))


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=150)
    scenes = parser.parse_args().scenes
    torch.manual_seed(0)
    same, looked = 0, 0
    for seed in range(scenes):
        scene = scene_of(seed)
        shaken = replace(scene, colors=0.7 * scene.colors.roll(1, 0), means=scene.means + 0.05 * torch.randn(scene.means.shape))
        shown = (scene, shaken, scene_of(seed + 10_000))[seed % 3]
        image = render(shown, orbit([37.0 * seed % 360], 0.0, CONFIG.input_size)).rgb[0]
        errors = align.azimuth_errors(scene, image, list(range(-180, 180)), CONFIG)
        rendered: list[int] = []

        def errors_of(azimuths: list[int], errors: list[float] = errors, rendered: list[int] = rendered) -> list[float]:
            rendered.extend(azimuths)
            return [errors[azimuth + 180] for azimuth in azimuths]

        best = align.coarse_to_fine(errors_of)
        same += errors[best + 180] <= min(errors)
        looked += len(rendered)
    print(f"the best azimuth in {same} of {scenes} scenes, with {looked / scenes:.0f} renderings on average")


if __name__ == "__main__":
    main()
