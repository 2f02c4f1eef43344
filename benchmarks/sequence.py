"""What --refine makes of a sequence of Gaussians: frame by frame, or one body.

    python benchmarks/sequence.py ASSETS/q_animals_fox.glb@Gallop --noise 1 --how fast --sheet sheet.png

The sequence stands for one of L4GM: every frame has the pixels of four canonical views as Gaussians, at the mesh's depth, with
smooth errors of depth and colour that differ from frame to frame; the front view, the video, has the smallest. Prints PSNR in dB
and flicker in gray levels against the mesh, from the video's camera and from others, and megabytes of the file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from chronosplat.assets import GltfModel, MovingMesh
from chronosplat.cameras import CANONICAL, Cameras, orbit, pixel_rays
from chronosplat.captures import Views
from chronosplat.data.clips import render_clip
from chronosplat.metrics import mean_psnr
from chronosplat.metrics.video import flicker
from chronosplat.refine import refine_scene, refinement
from chronosplat.render import render
from chronosplat.scenes import GaussianSequence, Scene, save_scene

OTHERS = [(45.0, 10.0), (135.0, 25.0), (200.0, 0.0), (290.0, 15.0)]  # azimuth and elevation in degrees
DEPTH, COLOR = 0.01, 0.05  # standard deviations of the errors at --noise 1, of an object of size one
FRONT = 0.3  # of the errors in the front view
CELLS = 6  # of the errors' grid on each side of a view


def unprojected(mesh: MovingMesh, seconds: np.ndarray, size: int, noise: float) -> GaussianSequence:
    """Turn the pixels of the canonical views at every time into Gaussians, with errors."""
    cameras, random = orbit(list(CANONICAL), size=size), torch.Generator().manual_seed(0)
    rgba, geometry = render_clip(mesh, seconds, cameras, samples=3)
    origins, rays = pixel_rays(cameras.viewmats.float(), cameras.Ks.float(), size, size)
    along = (rays * cameras.forwards.float()[:, None, None]).sum(-1, keepdim=True)
    focal, weight = float(cameras.Ks[0, 0, 0]), torch.tensor([FRONT, 1.0, 1.0, 1.0])[:, None, None, None]
    frames: dict[str, list[Tensor]] = {name: [] for name in ("means", "quats", "scales", "opacities", "colors")}
    for image, map4 in zip(torch.from_numpy(rgba), torch.from_numpy(geometry.astype(np.float32)), strict=True):
        grid = torch.randn(len(cameras), 4, CELLS, CELLS, generator=random)
        errors = noise * weight * F.interpolate(grid, (size, size), mode="bicubic").permute(0, 2, 3, 1)
        depth = map4[..., :1]
        shown = (image[..., 3:] > 200) & (depth > 0)
        means = origins + rays * (depth + DEPTH * errors[..., :1]) / along
        frames["means"].append(means.flatten(0, 2))
        frames["scales"].append((0.6 * depth / focal).clamp_min(1e-4).expand(*depth.shape[:3], 3).flatten(0, 2))
        frames["quats"].append(torch.tensor([1.0, 0, 0, 0]).expand(shown.numel(), 4))
        frames["opacities"].append(torch.where(shown, 0.95, 1e-4).flatten())
        frames["colors"].append((image[..., :3].float() / 255 + COLOR * errors[..., 1:]).clamp(0, 1).flatten(0, 2))
    return GaussianSequence(**{name: torch.stack(t) for name, t in frames.items()}, times=torch.from_numpy(seconds))  # pyright: ignore[reportArgumentType]


def posed(mesh: MovingMesh, seconds: np.ndarray, cameras: Cameras) -> Views:
    """Render the mesh, camera by camera."""
    rgba = torch.from_numpy(render_clip(mesh, seconds, cameras, samples=3)[0]).transpose(0, 1)
    which = [camera for camera in range(len(cameras)) for _ in seconds]
    return Views(pixels=rgba.flatten(0, 1), cameras=cameras[which], times=torch.from_numpy(seconds).repeat(len(cameras)))


def measured(scene: Scene, views: Views) -> tuple[float, float, Tensor]:
    """PSNR, flicker and the renderings."""
    with torch.no_grad():
        rgb = torch.cat([render(scene, views.cameras[[i]], views.times[[i]], cull=False).rgb for i in range(len(views))])
    white = views.on_white()
    found = sum(mean_psnr(a[None], b[None]) for a, b in zip(rgb, white, strict=True)) / len(rgb)
    return found, 255 * flicker(rgb, white, views.cameras, views.times), rgb


def megabytes(scene: Scene) -> float:
    """Size of the scene's file."""
    with tempfile.TemporaryDirectory() as folder:
        save_scene(scene, Path(folder) / "s.safetensors")
        return (Path(folder) / "s.safetensors").stat().st_size / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .glb file, and the name of an animation after @")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--duration", type=float, help="seconds of the animation")
    parser.add_argument("--size", type=int, default=128, help="pixels of the video; the sequence has a Gaussian for every second one")
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--how", default="fast")
    parser.add_argument("--strategies", nargs="+", default=["frames", "auto"])
    parser.add_argument("--sheet", help="write renderings at four times: mesh, sequence, then each strategy")
    arguments = parser.parse_args()
    path, _, animation = arguments.model.partition("@")
    mesh = GltfModel(path, animation or 0)
    seconds = np.linspace(0, arguments.duration or mesh.duration, arguments.frames)
    sequence = unprojected(mesh, seconds, arguments.size // 2, arguments.noise)
    front = posed(mesh, seconds, orbit([0.0], size=arguments.size))
    others = posed(mesh, seconds, orbit([a for a, _ in OTHERS], [e for _, e in OTHERS], arguments.size))
    config = refinement(arguments.how)
    assert config is not None

    def refined(strategy: str) -> Scene:
        done = refine_scene(sequence, front, replace(config, strategy=strategy))
        print(
            json.dumps(
                {
                    name: done.facts.get(name)
                    for name in ("strategy", "kept", "steps", "psnr_views_before", "psnr_views", "overlap", "overlap_at")
                }
            )
        )
        return done.scene

    makers: dict[str, Callable[[], Scene]] = {"sequence": lambda: sequence}
    makers |= {strategy: (lambda s=strategy: refined(s)) for strategy in arguments.strategies}
    rows = [torch.cat([front.on_white(), others.on_white()])]
    for name, make in makers.items():
        began = time.perf_counter()
        scene = make()
        taken = time.perf_counter() - began
        (psnr, unsteady, rgb), (psnr_others, unsteady_others, rgb_others) = measured(scene, front), measured(scene, others)
        rows.append(torch.cat([rgb, rgb_others]).clamp(0, 1))
        text = f"front {psnr:.2f} dB, flicker {unsteady:.2f}; others {psnr_others:.2f} dB, flicker {unsteady_others:.2f}"
        print(f"{name}: {text}; {scene.num_gaussians} Gaussians, {megabytes(scene):.1f} MB, {taken:.1f} s", flush=True)
    if arguments.sheet:
        chosen = [round(i * (arguments.frames - 1) / 3) + part * arguments.frames for part in (0, 1, 3) for i in range(4)]
        sheet = torch.cat([torch.cat(list(row[chosen]), 1) for row in rows], 0)
        Image.fromarray((sheet * 255 + 0.5).byte().numpy()).save(arguments.sheet)


if __name__ == "__main__":
    main()
