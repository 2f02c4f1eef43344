"""Windows around silhouettes: they contain them, keep the gradient, and strays outside are still penalised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat.refine import hull, random_in_hull
from chronosplat.refine.crop import EVERY, MULTIPLE, Crop
from chronosplat.refine.fused_adam import FusedAdam
from chronosplat.refine.training_views import raster_inputs, training_views
from chronosplat.render import rasterize
from chronosplat.render.image_loss import Targets, render_loss
from chronosplat.shapes import InputError
from tests.refine.kit import blobs, views


def alphas(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (60, 100)) -> Tensor:
    """Solid rectangles (x0, y0, x1, y1) in images [F, H, W, 1]."""
    found = torch.zeros(len(boxes), *size, 1)
    for image, (x0, y0, x1, y1) in zip(found, boxes, strict=True):
        image[y0:y1, x0:x1] = 1
    return found


def test_boxes_are_those_of_the_silhouettes_with_their_margin() -> None:
    given = alphas((20, 10, 30, 50), (0, 0, 5, 60), (0, 0, 0, 0))
    assert Crop.around(given, 0).boxes.tolist() == [[20, 10, 30, 50], [0, 0, 5, 60], [50, 30, 50, 30]]
    assert Crop.around(given, 8).boxes.tolist() == [[12, 2, 38, 58], [0, 0, 13, 60], [50, 30, 50, 30]]
    rgba = torch.cat([torch.full((3, 60, 100, 3), 255), given * 255], -1).to(torch.uint8)
    assert torch.equal(Crop.around(rgba).boxes, Crop.around(given).boxes)


@pytest.mark.parametrize("seed", range(20))
def test_windows_contain_their_boxes_and_lie_in_the_image(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    ends = torch.stack([torch.randint(0, 100, (4, 2), generator=g), torch.randint(0, 60, (4, 2), generator=g)], -1).sort(1).values
    crop = Crop.around(alphas(*[(int(a[0]), int(a[1]), int(b[0]) + 1, int(b[1]) + 1) for a, b in ends]), 3)
    window = crop.window([3, 1])
    assert window.width % MULTIPLE == 0 or window.width == 100
    assert window.height % MULTIPLE == 0 or window.height == 60
    for (x, y), k in zip(window.corners, (3, 1), strict=True):
        x0, y0, x1, y1 = crop.boxes[k].tolist()
        assert 0 <= x <= x0
        assert 0 <= y <= y0
        assert x1 <= x + window.width <= 100
        assert y1 <= y + window.height <= 60


def test_every_eighth_step_sees_whole_images() -> None:
    crop = Crop.around(alphas((20, 10, 30, 20)))
    sizes = [(crop.at([0], step).width, crop.at([0], step).height) for step in range(2 * EVERY)]
    assert [size == (100, 60) for size in sizes] == ([False] * (EVERY - 1) + [True]) * 2


def test_images_without_an_object_have_the_smallest_window() -> None:
    window = Crop.around(alphas((0, 0, 0, 0))).window([0])
    assert (window.width, window.height) == (MULTIPLE, MULTIPLE)


@pytest.mark.parametrize("given", [torch.zeros(2, 5, 5), torch.zeros(2, 5, 5, 3), torch.zeros(2, 5, 5, 1, dtype=torch.uint8)])
def test_other_shapes_are_refused(given: Tensor) -> None:
    with pytest.raises(InputError, match="alphas: expected"):
        Crop.around(given)


def raster_fields() -> tuple[str, ...]:
    return ("means", "quats", "scales", "opacities", "colors", "velocities", "time_centers", "time_sigmas")


def test_inside_its_window_an_object_has_the_gradient_of_whole_images() -> None:
    training, chosen = training_views(blobs(), views()), [0, 5, 10, 15]
    fields = {name: t.detach().float() for name, t in blobs().tensors().items() if name in raster_fields()}
    small = {name: fields[name] * 0.4 for name in ("means", "velocities", "scales")}
    fields = {name: t.requires_grad_() for name, t in (fields | small).items()}
    x, wanted = raster_inputs(fields, training, chosen), Targets(training.pixels, None, 0.1, 0.3, chosen)
    seen = torch.zeros(*training.pixels.shape[:3], 1)
    seen[chosen] = rasterize(x, "cpu").alpha[0].detach()
    window = Crop.around(seen, 2).window(chosen)
    assert window.width * window.height < 0.7 * 32 * 32
    found = [torch.autograd.grad(render_loss(*given), list(fields.values())) for given in ((x, wanted), window.apply(x, wanted))]
    for a, b in zip(*found, strict=True):
        assert float((a - b).norm()) <= 1e-4 * float(b.norm())
        assert float(b.norm()) > 0


@pytest.mark.parametrize("every", [True, False])
def test_a_stray_outside_the_windows_fades(every: bool) -> None:
    """With windows alone it would stay for ever."""
    training = training_views(blobs(), views())
    crop = Crop.around(alphas((14, 14, 18, 18), size=(32, 32)).expand(len(training), -1, -1, -1), 2)  # nothing to see but the middle
    empty = replace(training, pixels=torch.zeros_like(training.pixels))
    fields = {name: t.detach().float()[:1] for name, t in blobs().tensors().items() if name in raster_fields()}
    fields |= {"means": torch.tensor([[0.0, 0.45, 0.0]]), "velocities": torch.zeros(1, 3), "scales": torch.full((1, 3), 0.03)}
    adam = FusedAdam(fields, {"opacities": 0.3})
    before = float(fields["opacities"])
    for step in range(10 * EVERY):
        chosen = [(4 * step + k) % 24 for k in range(4)]
        x, wanted = raster_inputs(adam.values, empty, chosen), Targets(empty.pixels, None, 0.1, 0.3, chosen)
        x, wanted = (crop.at(chosen, step) if every else crop.window(chosen)).apply(x, wanted)
        render_loss(x, wanted).backward()
        assert adam.step()
    assert (float(adam.values["opacities"].detach()) < 0.3 * before) == every


def test_the_box_of_the_hulls_contains_what_is_found_in_the_whole_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is smaller than the cube; the distribution is the same."""
    boxes: list[tuple[Tensor, Tensor]] = []

    def recorded(*arguments: Any) -> tuple[Tensor, Tensor]:
        boxes.append(usual(*arguments))
        return boxes[0]

    usual, cube = hull._bounding_box, torch.full((3,), hull.BOX)
    monkeypatch.setattr(hull, "_bounding_box", recorded)
    tight = random_in_hull(views(), 4000).means
    monkeypatch.setattr(hull, "_bounding_box", lambda *_: (-cube, cube))
    whole = random_in_hull(views(), 4000, seed=1).means
    low, high = boxes[0]
    assert bool(((whole >= low) & (whole <= high)).all())
    assert float((high - low).prod()) < 0.8 * (2 * hull.BOX) ** 3
    torch.testing.assert_close(whole.mean(0), tight.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(whole.std(0), tight.std(0), atol=0.02, rtol=0)
