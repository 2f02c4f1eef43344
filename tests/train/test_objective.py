"""One step's loss: the same value and gradients through both renderers, and what it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.data.sampling import TrainingBatch
from chronosplat.models import load_model
from chronosplat.models.lrm4d import LRM4D
from chronosplat.train.objective import LossWeights, compute_loss, geometry_errors, input_frames, render_targets
from tests.models.test_sweep import sphere_views
from tests.scene_kit import camera_rays


def batch(inputs: int = 2, targets: int = 1, size: int = 16, samples: int = 1) -> TrainingBatch:
    """A sphere from a few sides, standing still; its depth is known analytically."""
    count = inputs + targets
    cameras = orbit([70.0 * i for i in range(count)], [8.0 * i for i in range(count)], size)
    rgb, alpha, distance = sphere_views(cameras)
    _, directions = camera_rays(cameras)
    cosine = (directions * cameras.forwards[:, None, None]).sum(-1, keepdim=True)
    geometry = torch.cat([distance * cosine * alpha, torch.zeros_like(rgb)], -1)[:inputs]
    fields = (torch.cat([rgb, alpha], -1), torch.linspace(-1, 1, count), cameras.viewmats, cameras.Ks, geometry)
    stacked = (t.expand(samples, *t.shape).clone() for t in fields)
    return TrainingBatch(*stacked, inputs=inputs)


def fresh_model() -> LRM4D:
    torch.manual_seed(0)
    return load_model("4d-lrm-mini", pretrained=False).train()


def step(model: LRM4D, backend: str) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad()
    loss = compute_loss(model, batch(), LossWeights(), backend)
    loss.total.backward()
    return loss.total.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_backends_agree_through_the_whole_model() -> None:
    model = fresh_model()
    judged, wanted = step(model, "reference")
    fast, found = step(model, "cpu")
    assert fast == pytest.approx(judged, rel=1e-3)
    assert wanted.keys() == found.keys() == dict(model.named_parameters()).keys()
    for name, value in wanted.items():
        assert float((found[name] - value).norm()) <= 1e-3 * float(value.norm()) + 1e-10, name
    assert sum(float(value.norm()) for value in wanted.values()) > 1e-3


def test_total_is_the_weighted_sum() -> None:
    loss = compute_loss(fresh_model(), batch(), LossWeights(0.5, 0.05, 0.2, 0.1))
    expected = loss.rgb + 0.5 * loss.alpha + 0.05 * loss.structure + 0.2 * loss.surface + 0.1 * loss.motion
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert loss.rendered.shape == loss.target.shape == (1, 1, 16, 16, 3)
    assert loss.rgb.item() == pytest.approx(((loss.rendered - loss.target) ** 2).mean().item(), rel=1e-6)


def test_targets_do_not_reach_the_network() -> None:
    b = batch(2, 2)
    frames = input_frames(b)
    assert frames.rgb.shape == (1, 2, 16, 16, 3)
    assert torch.equal(frames.times, b.times[:, :2])
    empty = b.rgba[:, :2, ..., 3:] == 0
    assert bool((frames.rgb[empty.expand_as(frames.rgb)] == 1).all())


@pytest.mark.parametrize("coverage", [0.0, 1.0])
def test_alpha_is_compared_with_the_targets_coverage(coverage: float) -> None:
    model, b = fresh_model(), batch()
    even = replace(b, rgba=b.rgba.clone())
    even.rgba[:, 2:, ..., 3] = coverage
    with torch.no_grad():
        found = render_targets(model(input_frames(even)), even, "cpu").alpha
        loss = compute_loss(model, even, LossWeights(), "cpu")
    assert loss.alpha.item() == pytest.approx(((found - coverage) ** 2).mean().item(), rel=1e-5)
    assert loss.alpha.item() > 0.01


def test_geometry_errors_vanish_on_the_surface() -> None:
    """Gaussians put where the known depth says, at rest: nothing to correct; moved by 0.1, that much is missing."""
    b = batch()
    frames = input_frames(b)
    with torch.no_grad():
        predicted = fresh_model()(frames)
    cameras = orbit([0.0, 70.0], [0.0, 8.0], 16)
    origins, directions = camera_rays(cameras)
    points = (origins + sphere_views(cameras)[2].nan_to_num() * directions)[None].flatten(1, 3)
    exact = replace(predicted, means=points, velocities=torch.zeros_like(points))
    surface, motion = geometry_errors(exact, frames, b.geometry)
    assert surface.item() == pytest.approx(0, abs=2e-4)
    assert motion.item() == pytest.approx(0, abs=2e-4)
    shifted = replace(exact, means=points + torch.tensor([0.0, 0.1, 0.0]), velocities=torch.full_like(points, 0.2))
    still = replace(shifted, time_centers=frames.times[:, :, None, None].expand(1, 2, 16, 16).flatten(1))
    surface, motion = geometry_errors(still, frames, b.geometry)
    assert surface.item() == pytest.approx(0.1, abs=1e-6)
    assert motion.item() == pytest.approx(0.2 * 3**0.5, abs=1e-6)
