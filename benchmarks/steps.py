"""Steps per second of the optimisation loop: the torch twins (before) and the native kernels (after), interleaved in one run.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/steps.py
    OMP_WAIT_POLICY=PASSIVE python benchmarks/steps.py --threads 2 --sizes 256 --gaussians 4000

A procedural creature, seen by 24 random cameras at 24 timestamps; 4 views in a step. ``free`` is a step of ``optimise``;
``deform`` is skinning by 100 nodes, rendering, image loss and Adam; ``crop`` is the same in windows around the silhouettes.
Prints the median over rounds of milliseconds per step, of CPU time, and their ratios.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import Views
from chronosplat.evaluate.studio import MeshStudio
from chronosplat.losses import mse
from chronosplat.refine.config import FreeConfig, RefineConfig
from chronosplat.refine.crop import Crop
from chronosplat.refine.fused_adam import FusedAdam
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.motion import farthest_points
from chronosplat.refine.neighbours import Neighbours, mean_difference_reference
from chronosplat.refine.optimise import Budget, FreeStepper, optimise, targets
from chronosplat.refine.parameters import Fields, bounded, fields_of, freed
from chronosplat.refine.training_views import TrainingViews, render_views, training_views
from chronosplat.render import RasterInputs, rasterize
from chronosplat.render.image_loss import image_loss_reference, render_loss
from chronosplat.render.skinning import skin
from chronosplat.scenes import deformable

LRS, CONFIG, NODES, BATCH = FreeConfig().hull_lrs, RefineConfig(steps=1), 100, 4
Step = Callable[[int], object]


def chosen_in(step: int) -> list[int]:
    """Four of the 24 views."""
    return [(5 * (BATCH * step + k)) % 24 for k in range(BATCH)]


def bound(free: Fields) -> None:
    """Clip colours and lengthen the short axes of needles, with torch."""
    with torch.no_grad():
        free["colors"].clamp_(0, 1)
        longest = free["scales"].amax(-1, keepdim=True)
        free["scales"].copy_(torch.maximum(free["scales"], longest - math.log(CONFIG.max_anisotropy)))


def free_before(fields: Fields, views: TrainingViews) -> Step:
    """A step of the strategy ``free`` by torch's operators, without windows."""
    free = freed(fields)
    adam = torch.optim.Adam([{"params": [t], "lr": LRS[name]} for name, t in free.items()], betas=(0.9, 0.99), eps=1e-15, fused=True)
    generator, neighbours = torch.Generator().manual_seed(0), Neighbours(torch.Generator().manual_seed(0))

    def step(index: int) -> None:
        values, chosen = bounded(free), chosen_in(index)
        kept = (torch.rand(len(values["means"]), generator=generator) >= CONFIG.dropout).nonzero()[:, 0]
        some = {name: t.index_select(0, kept) for name, t in values.items()}
        some["opacities"] = (some["opacities"] / (1 - CONFIG.dropout)).clamp(max=0.999)
        rgb, alpha = render_views(some, views, chosen, "cpu")
        wanted, covered = views.on_white(chosen), views.pixels[chosen][..., 3:].float() / 255
        loss = mse(rgb, wanted) + CONFIG.l1_weight * (rgb - wanted).abs().mean() + CONFIG.alpha_weight * mse(alpha, covered)
        loss = loss + CONFIG.binary_weight * (some["opacities"] * (1 - some["opacities"])).mean()
        with torch.no_grad():
            sampled = neighbours.sample(values)
        loss = loss + CONFIG.velocity_weight * 3 * mean_difference_reference(values["velocities"], *sampled)
        assert bool(torch.isfinite(loss))
        adam.zero_grad()
        loss.backward()
        assert bool(torch.stack([t.grad.isfinite().all() for t in free.values() if t.grad is not None]).all())
        adam.step()
        bound(free)

    return step


def free_after(fields: Fields, views: TrainingViews) -> Step:
    """A step of ``optimise``."""
    stepper = FreeStepper(fields, views, CONFIG, LRS, regularise=True)
    return lambda index: stepper.step(chosen_in(index), 0.0)


class Body:
    """Canonical Gaussians, and nodes that move them at 24 timestamps."""

    def __init__(self, fields: Fields) -> None:
        self.fields = {name: fields[name] for name in ("means", "quats", "scales", "opacities", "colors")}
        self.nodes = fields["means"][farthest_points(fields["means"], NODES)]
        near = torch.cdist(fields["means"], self.nodes).topk(4, largest=False)
        self.which, self.weights = near.indices, torch.softmax(-near.values / 0.05, -1)
        self.motion = {"shifts": torch.zeros(24, NODES, 3), "turns": torch.zeros(24, NODES, 3)}
        self.lrs = {name: LRS[name] for name in self.fields} | {"shifts": 5e-3, "turns": 1e-2}

    def moved(self, function: Callable[..., tuple[Tensor, Tensor]], values: Fields, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Means [V, N, 3] and quaternions [V, N, 4] at the views' timestamps."""
        shifts, turns = (values[name].index_select(0, torch.tensor(chosen)) for name in ("shifts", "turns"))
        return function(values["means"], values["quats"], self.which, self.weights, self.nodes, shifts, turns)


def deform_before(body: Body, views: TrainingViews) -> Step:
    """A step of a deformable body by torch's operators."""
    free = freed(body.fields | body.motion)
    adam = torch.optim.Adam([{"params": [t], "lr": body.lrs[name]} for name, t in free.items()], betas=(0.9, 0.99), eps=1e-15, fused=True)

    def step(index: int) -> None:
        values, chosen = bounded(free), chosen_in(index)
        means, quats = body.moved(deformable.skin, values, chosen)
        scales, opacities, colors = (values[name].expand(BATCH, *values[name].shape) for name in ("scales", "opacities", "colors"))
        height, width = views.size
        x = RasterInputs(means, quats, scales, opacities, colors, views.viewmats[chosen][:, None], views.Ks[chosen][:, None], width, height)
        out = rasterize(x, "cpu")
        loss = image_loss_reference(out.rgb[:, 0], out.alpha[:, 0], targets(views, chosen, CONFIG))
        assert bool(torch.isfinite(loss))
        adam.zero_grad()
        loss.backward()
        assert bool(torch.stack([t.grad.isfinite().all() for t in free.values() if t.grad is not None]).all())
        adam.step()
        bound(free)

    return step


def deform_after(body: Body, views: TrainingViews, crop: Crop | None = None) -> Step:
    """The same by the native kernels; with ``crop``, in windows around the silhouettes."""
    adam = FusedAdam(body.fields | body.motion, body.lrs, max_anisotropy=CONFIG.max_anisotropy)

    def step(index: int) -> None:
        values, chosen = adam.values, chosen_in(index)
        means, quats = body.moved(skin, values, chosen)
        scales, opacities, colors = (values[name][None] for name in ("scales", "opacities", "colors"))
        height, width = views.size
        x = RasterInputs(means, quats, scales, opacities, colors, views.viewmats[chosen][:, None], views.Ks[chosen][:, None], width, height)
        wanted = targets(views, chosen, CONFIG)
        if crop is not None:
            x, wanted = crop.at(chosen, index).apply(x, wanted)
        loss = render_loss(x, wanted, "cpu")
        assert bool(torch.isfinite(loss))
        loss.backward()
        assert adam.step()

    return step


def interleaved(steps: dict[str, Step], rounds: int, block: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds of wall and CPU time per step of each, measured in turns."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            for k in range(block):
                step(index * block + k)
            if index:  # the first round warms up
                spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(1e3 * statistics.median(column) / block for column in zip(*found, strict=True)) for name, found in spent.items()}  # pyright: ignore[reportReturnType]


def capture(size: int) -> Views:
    """24 random views of a moving creature."""
    studio = MeshStudio(procedural_object(11), "creature", size)
    return studio.get_views([studio.random_view(frame, "inputs") for frame in range(24)])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--gaussians", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block", type=int, default=8, help="steps in a turn")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"{'':16}{'before ms':>10}{'after ms':>10}{'ratio':>8}{'CPU ratio':>11}{'after: steps/s':>16}")
    for size in chosen.sizes:
        given = capture(size)
        scene = random_in_hull(given, chosen.gaussians)
        views = training_views(scene, given)
        fields = optimise(fields_of(scene), views, range(24), CONFIG, Budget(60), LRS).fields
        body, crop = Body(fields), Crop.around(views.pixels)
        for name, steps in {
            "free": {"before": free_before(fields, views), "after": free_after(fields, views)},
            "deform": {"before": deform_before(body, views), "after": deform_after(body, views)},
            "deform crop": {"before": deform_before(body, views), "after": deform_after(body, views, crop)},
        }.items():
            found = interleaved(steps, chosen.rounds, chosen.block)
            (before, cpu_before), (after, cpu_after) = found["before"], found["after"]
            figures = f"{before:10.2f}{after:10.2f}{before / after:8.2f}{cpu_before / cpu_after:11.2f}{1e3 / after:16.1f}"
            print(f"{name + ' ' + str(size):16}{figures}")


if __name__ == "__main__":
    main()
