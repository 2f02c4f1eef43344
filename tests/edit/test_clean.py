"""Edits that remove Gaussians: floaters and decimation, and the contributions that they judge by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import chronosplat as cs
from chronosplat.cameras import orbit
from chronosplat.captures import save_transforms
from chronosplat.edit import Crop, Decimate, Edit, Floaters, Loop, Move, Recolour, Retime, Rotate, Sample, Scale, SlowMotion, Trim, edit
from chronosplat.edit.clusters import cluster_shares
from chronosplat.edit.contribution import contributions, sampled_views
from chronosplat.edit.kinds.placing import Ground
from chronosplat.events import Events
from chronosplat.metrics import mean_psnr
from chronosplat.scenes import Gaussians3D, GaussianSequence
from chronosplat.shapes import InputError
from tests.edit.edit_kit import KINDS, every_kind, times_of
from tests.scene_kit import moving_scene, sequence_scene, static_scene, tilted_world


def ball(count: int = 300, seed: int = 0) -> Gaussians3D:
    """Opaque Gaussians on a sphere of radius 0.4."""
    random = torch.Generator().manual_seed(seed)
    means = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1) * 0.4
    return Gaussians3D(
        means=means,
        quats=torch.tensor([[1.0, 0, 0, 0]]).expand(count, 4).clone(),
        scales=torch.full((count, 3), 0.03),
        opacities=torch.full((count,), 0.9),
        colors=means + 0.5,
    )


def with_floaters() -> tuple[Gaussians3D, torch.Tensor]:
    """A ball, four faint Gaussians in it and a clump of two outside; and which are the ball's."""
    scene = ball()
    rest = static_scene(6)
    floaters = replace(
        rest,
        means=torch.tensor([[0.0, 0, 0.4]] * 4 + [[1.2, 0, 0]] * 2),
        opacities=torch.tensor([0.01] * 4 + [0.5] * 2),
        scales=torch.full((6, 3), 0.03),
    )
    fields = {name: torch.cat([t, floaters.tensors()[name]]) for name, t in scene.tensors().items()}
    return Gaussians3D(**fields), torch.arange(306) < 300


def test_contributions_are_the_blending_weights() -> None:
    """The sum of all weights is the coverage of the images, and a Gaussian's is the change of the images with its colour."""
    scene = static_scene(5, world=tilted_world())
    cameras = orbit([0.0, 50.0, 200.0], 20.0, 24).transformed(tilted_world())
    weights, _ = contributions(scene, cameras, torch.zeros(3, dtype=torch.float64))
    shown = cs.render(scene, cameras, background="black")
    torch.testing.assert_close(weights.sum(), shown.alpha.sum(), rtol=1e-4, atol=1e-3)
    brighter = replace(scene, colors=scene.colors + torch.tensor([[0.0, 0, 0]] * 2 + [[1.0, 0, 0]] + [[0.0, 0, 0]] * 2))
    change = cs.render(brighter, cameras, background="black").rgb[..., 0].sum() - shown.rgb[..., 0].sum()
    torch.testing.assert_close(weights[2], change, rtol=1e-3, atol=1e-3)


def test_contributions_of_a_sequence_are_those_of_its_frames() -> None:
    scene = sequence_scene(3, 5)
    cameras, times = orbit([0.0, 90.0, 180.0, 270.0], 0.0, 24), torch.tensor([1.0, 1.6, 1.6, 1.0], dtype=torch.float64)
    marks = torch.rand(4, 24, 24, generator=torch.Generator().manual_seed(0))
    weights, marked = contributions(scene, cameras, times, marks)
    assert weights.shape == (3, 5)
    assert not weights[1].any()  # no view at 1.2 s
    for row, some in ((0, [0, 3]), (2, [1, 2])):
        alone = contributions(scene.frame(row), cameras[torch.tensor(some)], torch.zeros(2), marks[some])
        torch.testing.assert_close(weights[row], alone[0])
        torch.testing.assert_close(marked[row], alone[1])
    assert bool((marked <= weights + 1e-5).all())


def test_sampled_views_see_the_whole_scene() -> None:
    scene = moving_scene(200, world=tilted_world())
    cameras, times = sampled_views(scene)
    assert len(torch.unique(times)) == 24
    middle = scene.at(3.0).means.mean(0)
    local = (cameras.viewmats[:, :3, :3] @ middle + cameras.viewmats[:, :3, 3]).double()
    pixels = (cameras.Ks.double() @ local[..., None])[..., 0]
    off = pixels[:, :2] / pixels[:, 2:] - cameras.width / 2
    assert float(off.abs().max()) < 0.15 * cameras.width


@every_kind
def test_decimation_keeps_what_is_seen_and_as_many_as_requested(kind: str) -> None:
    scene = KINDS[kind]()
    small = edit(scene, [Decimate(3)])
    assert small.num_gaussians == 3
    assert edit(scene, [Decimate(99)]).num_gaussians == scene.num_gaussians
    for seconds in times_of(scene):
        wanted = {tuple(row) for row in (scene.at(seconds).colors * 1e3).round().int().tolist()}
        assert {tuple(row) for row in (small.at(seconds).colors * 1e3).round().int().tolist()} <= wanted


def test_decimation_drops_what_is_hidden() -> None:
    scene, inner = ball(2000), ball(500, seed=1)
    hidden = replace(inner, means=inner.means * 0.3, opacities=torch.full((500,), 0.95))
    both = Gaussians3D(**{name: torch.cat([hidden.tensors()[name], t]) for name, t in scene.tensors().items()})
    small = edit(both, [Decimate(2000)])
    inside = int((small.at(0).means.norm(dim=-1) < 0.2).sum())
    assert inside < 100  # of 500, because they hardly show
    cameras = orbit([20.0, 140.0, 260.0], 30.0, 64)
    loss = mean_psnr(cs.render(small, cameras).rgb, cs.render(both, cameras).rgb)
    order = torch.randperm(2500, generator=torch.Generator().manual_seed(0))[:2000]
    chance = mean_psnr(cs.render(both.map(lambda t: t[order]), cameras).rgb, cs.render(both, cameras).rgb)
    assert loss > chance + 10


def test_floaters_are_removed_and_the_object_stays() -> None:
    scene, wanted = with_floaters()
    notices: list[cs.Notice] = []
    cleaned = edit(scene, [Floaters(gap=0.1)], Events(notices.append))
    torch.testing.assert_close(cleaned.at(0).means, scene.means[wanted])
    assert "of 306 Gaussians, 4 faint, 2 detached, 0 not in the views" in notices[0].text
    again = edit(cleaned, [Floaters(gap=0.1)])
    assert again.num_gaussians == cleaned.num_gaussians


def test_floaters_of_a_sequence_are_judged_in_each_frame() -> None:
    scene, wanted = with_floaters()
    fields = {name: torch.stack([t, t.flip(0)]) for name, t in scene.tensors().items()}
    sequence = GaussianSequence(**fields, times=torch.tensor([0.0, 1.0]))
    cleaned = edit(sequence, [Floaters(gap=0.1)])
    assert cleaned.num_gaussians == 300
    torch.testing.assert_close(cleaned.at(0.0).means, scene.means[wanted])
    torch.testing.assert_close(cleaned.at(1.0).means, scene.means[wanted].flip(0))


def test_views_show_floaters_in_front_of_their_background(tmp_path: Path) -> None:
    scene = ball()
    cameras = orbit([60.0 * k for k in range(6)], [0.0, 30.0, -30.0] * 2, 64)
    shown = cs.render(scene, cameras)
    views = cs.Views(shown.rgb.clamp(0, 1), (shown.alpha > 0.5).float(), cameras, torch.zeros(6, dtype=torch.float64))
    save_transforms(views, tmp_path, "train")
    extra = replace(ball(2), means=torch.tensor([[0.0, 0.55, 0], [0.0, 50, 0]]))  # beside the silhouettes, and in no view
    both = Gaussians3D(**{name: torch.cat([t, extra.tensors()[name]]) for name, t in scene.tensors().items()})
    assert edit(both, [Floaters(cluster=0.0)]).num_gaussians == 302
    cleaned = edit(both, [Floaters(cluster=0.0, views=str(tmp_path))])
    assert torch.equal(cleaned.at(0).means, scene.means)


def test_clusters_are_cells_that_touch() -> None:
    line = torch.stack([torch.arange(10) * 0.9, torch.zeros(10), torch.zeros(10)], 1)
    points = torch.cat([line, line[:3] + torch.tensor([0.0, 50.0, 0.0]), torch.tensor([[1e9, -1e9, 0.0]])])
    shares = cluster_shares(points, torch.ones(14), 1.0)
    torch.testing.assert_close(shares, torch.tensor([10 / 14] * 10 + [3 / 14] * 3 + [1 / 14]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Decimate(0), "decimate: count: expected at least 1, got 0"),
        (lambda: Decimate(-5), "decimate: count: expected at least 1, got -5"),
        (lambda: Sample(0), "sample: frames: expected at least 1, got 0"),
        (lambda: Crop(), "crop: expected a box or a sphere; choose box or sphere"),
        (lambda: Crop(box=(0, 0, 0, 1, 1, 1), sphere=(0, 0, 0, 1)), "crop: expected a box or a sphere"),
        (lambda: Crop(box=(0, 0, 0, 1, -1, 1)), "crop: box: expected least x y z below most x y z, got 0 0 0 1 -1 1"),
        (lambda: Crop(sphere=(0, 0, 0, 0)), "crop: sphere: expected x y z and a radius above 0"),
        (lambda: Move((0.0, float("nan"), 0.0)), "move: by: expected finite numbers, got 0 nan 0"),
        (lambda: Scale(0.0), "scale: factor: expected a number above 0, got 0"),
        (lambda: Rotate(10.0, axis=(0.0, 0.0, 0.0)), "rotate: axis: expected a direction, got 0 0 0"),
        (lambda: Trim(1.0, 1.0), "trim: end: expected a time after the start, 1 s, got 1"),
        (lambda: Trim(0.0, float("inf")), "trim: end: expected finite numbers, got inf"),
        (lambda: Retime(duration=0.0), "retime: duration: expected seconds above 0, got 0"),
        (lambda: SlowMotion(-1.0), "slow-motion: factor: expected a number above 0, got -1"),
        (lambda: Loop(0.0), "loop: fade: expected seconds above 0, got 0"),
        (lambda: Recolour(saturation=-1.0), "recolour: saturation: expected a number of at least 0, got -1"),
        (lambda: Recolour(gamma=0.0), "recolour: gamma: expected a number above 0, got 0"),
        (lambda: Ground(ignore=1.0), "ground: ignore: expected a share from 0 to below 1, got 1"),
        (lambda: Floaters(opacity=-0.1), "floaters: opacity: expected a number from 0 to below 1, got -0.1"),
    ],
)
def test_bad_parameters_are_refused(make: Callable[[], Edit], message: str) -> None:
    with pytest.raises(InputError) as found:
        edit(static_scene(), [make()])
    assert str(found.value).startswith(message)


@every_kind
@pytest.mark.parametrize("step", [Crop(sphere=(90.0, 0.0, 0.0, 1.0)), Floaters(opacity=0.99)])
def test_an_edit_that_leaves_nothing_is_refused(kind: str, step: Edit) -> None:
    with pytest.raises(InputError, match=f"{step.name}: nothing is left"):
        edit(KINDS[kind](), [step])
