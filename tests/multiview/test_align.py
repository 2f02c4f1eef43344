"""The azimuth at which an object matches an image: coarse to fine, compared with all 360 whole degrees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from chronosplat import InputError
from chronosplat.cameras import orbit
from chronosplat.multiview import align
from chronosplat.multiview.align import azimuth_errors, best_azimuth, wrap
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from tests.l4gm_kit import TINY_LGM
from tests.scene_kit import static_scene

CONFIG = replace(TINY_LGM, input_size=24)
CIRCLE = list(range(-180, 180))
AZIMUTHS = [-180, 179, -177, 0, *torch.randint(-180, 180, (4,), generator=torch.Generator().manual_seed(7)).tolist()]


def cloud(seed: int) -> Gaussians3D:
    """Random Gaussians, small enough that they look different from everywhere."""
    scene = static_scene(10, seed)
    return replace(scene, means=scene.means * 0.8, scales=scene.scales * 0.7)


def seen(scene: Gaussians3D, azimuth: float) -> Tensor:
    return render(scene, orbit([azimuth], 0.0, CONFIG.input_size, CONFIG.radius, CONFIG.fovy)).rgb[0]


def exhaustive(scene: Gaussians3D, image: Tensor) -> tuple[int, list[float]]:
    """The best of all whole degrees, and the error of each."""
    errors = azimuth_errors(scene, image, CIRCLE, CONFIG)
    return CIRCLE[min(range(360), key=errors.__getitem__)], errors


@pytest.mark.parametrize(("seed", "azimuth"), list(enumerate(AZIMUTHS)))
def test_the_best_of_all_whole_degrees_is_found(seed: int, azimuth: int) -> None:
    scene = cloud(seed)
    image = seen(scene, azimuth)
    best, errors = exhaustive(scene, image)
    assert max(errors) > 1e-3  # it looks different from elsewhere
    assert best == azimuth
    assert best_azimuth(scene, image, CONFIG) == best


@pytest.mark.parametrize("seed", range(6))
def test_noise_and_angles_between_degrees_do_no_harm(seed: int) -> None:
    scene = cloud(seed)
    random = torch.Generator().manual_seed(seed)
    azimuth = 360 * float(torch.rand((), generator=random)) - 180
    image = seen(scene, azimuth)
    image = (image + 0.1 * torch.randn(image.shape, generator=random)).clamp(0, 1)
    found = best_azimuth(scene, image, CONFIG)
    assert found == exhaustive(scene, image)[0]
    assert abs((found - azimuth + 180) % 360 - 180) < 3


@pytest.mark.parametrize("seed", range(4))
def test_an_image_of_something_else_gets_a_view_as_good_as_the_best(seed: int) -> None:
    """Generated objects never match exactly, and then valleys may be narrower than the coarse step."""
    scene, image = cloud(seed), seen(cloud(seed + 100), 30.0)
    _, errors = exhaustive(scene, image)
    assert errors[CIRCLE.index(best_azimuth(scene, image, CONFIG))] <= 1.02 * min(errors)


def test_far_fewer_than_all_degrees_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    real = align.azimuth_errors

    def counted(gaussians: Gaussians3D, image: Tensor, azimuths: list[int], *rest: Any) -> list[float]:
        looked.extend(azimuths)
        return real(gaussians, image, azimuths, *rest)

    monkeypatch.setattr(align, "azimuth_errors", counted)
    scene = cloud(3)
    assert best_azimuth(scene, seen(scene, 100.0), CONFIG) == 100
    assert len(looked) == len(set(looked))  # none twice
    assert 60 <= len(looked) <= 120
    assert set(looked) <= set(CIRCLE)


def test_errors_are_mean_squares_in_the_given_order() -> None:
    scene = cloud(0)
    image = torch.full((CONFIG.input_size, CONFIG.input_size, 3), 0.25)
    found = azimuth_errors(scene, image, [170, -20], CONFIG)
    expected = [float((seen(scene, a) - 0.25).square().mean()) for a in (170.0, -20.0)]
    assert found == pytest.approx(expected, rel=1e-5)
    assert azimuth_errors(scene, image, [], CONFIG) == []


def test_an_object_that_looks_alike_from_everywhere_has_an_azimuth_too() -> None:
    ball = Gaussians3D(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), 0.2), torch.ones(1), torch.zeros(1, 3))
    assert best_azimuth(ball, seen(ball, 0.0), CONFIG) in CIRCLE


@pytest.mark.parametrize(("azimuth", "same"), [(0, 0), (180, -180), (-180, -180), (181, -179), (359, -1), (-186, 174), (540, -180)])
def test_directions_are_wrapped(azimuth: int, same: int) -> None:
    assert wrap(azimuth) == same


@pytest.mark.parametrize("shape", [(32, 32, 3), (24, 24, 4), (24, 20, 3), (1, 24, 24, 3), (3, 24, 24)])
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"image: expected shape \[24, 24, 3\], got \["):
        best_azimuth(cloud(0), torch.ones(shape), CONFIG)
