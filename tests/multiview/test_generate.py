"""From generated views to four views of one object."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chronosplat import InputError
from chronosplat.cameras import orbit
from chronosplat.models.l4gm import L4GM, input_maps
from chronosplat.multiview import Generated, consistent_views
from chronosplat.multiview.align import best_azimuth
from chronosplat.multiview.diffusion import resize_square
from chronosplat.multiview.generate import frame_view
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from tests.l4gm_kit import TINY_LGM, tiny_model
from tests.multiview.kit import coloured_image

SIZE = TINY_LGM.input_size


def generated(size: int = 24) -> Tensor:
    """[4, size, size, 3]: stands in for the diffusion's views."""
    return torch.stack([coloured_image(size, seed) for seed in range(4)])


@pytest.fixture(scope="module")
def lgm() -> L4GM:
    return tiny_model(3, TINY_LGM)


def object_of(lgm: L4GM, views: Tensor, elevation: float = 0.0, text: bool = False) -> Gaussians3D:
    """LGM's Gaussians from generated views; those of a text are matted and framed."""
    views = torch.stack([frame_view(view, SIZE) for view in views]) if text else resize_square(views, SIZE)
    with torch.no_grad():
        fields = lgm(input_maps(views[None, None], lgm.config, elevation)).fields()
    return Gaussians3D(**{name: value[0, 0] for name, value in fields.items()})


def rendered(gaussians: Gaussians3D, azimuths: list[float], elevation: float = 0.0) -> Tensor:
    return render(gaussians, orbit(azimuths, elevation, SIZE, TINY_LGM.radius, TINY_LGM.fovy)).rgb


def check(found: Generated, lgm: L4GM, views: Tensor, text: bool = False) -> None:
    """The views are renderings of LGM's object, from the aligned azimuth."""
    assert torch.equal(found.generated, views)
    expected = object_of(lgm, views, text=text)
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(getattr(found.gaussians, name), tensor)
    assert found.views.shape == (4, SIZE, SIZE, 3)
    assert float(found.views.min()) >= 0
    assert float(found.views.max()) <= 1
    azimuths = [found.azimuth + offset for offset in (0.0, 90.0, 180.0, 270.0)]
    torch.testing.assert_close(found.views, rendered(found.gaussians, azimuths).clamp(0, 1), atol=1e-5, rtol=0)
    assert float((found.views[0] - found.views[2]).abs().max()) > 1e-2


@pytest.mark.parametrize("size", [24, SIZE])
def test_views_of_an_image(lgm: L4GM, size: int) -> None:
    image = coloured_image(SIZE, 9)
    found = consistent_views(lgm, generated(size), image)
    check(found, lgm, generated(size))
    assert found.azimuth == best_azimuth(found.gaussians, image, lgm.config)


@pytest.mark.parametrize("azimuth", [-180, -67, 0, 41, 137])
def test_the_first_view_matches_the_image(lgm: L4GM, azimuth: int) -> None:
    image = rendered(object_of(lgm, generated()), [float(azimuth)])[0]
    found = consistent_views(lgm, generated(), image)
    assert found.azimuth == azimuth
    check(found, lgm, generated())
    torch.testing.assert_close(found.views[0], image.clamp(0, 1), atol=1e-5, rtol=0)


def test_views_of_a_text_are_not_aligned(lgm: L4GM) -> None:
    found = consistent_views(lgm, generated(), None)
    assert found.azimuth == 0
    check(found, lgm, generated(), text=True)


def test_views_of_a_text_are_matted_and_framed() -> None:
    """They may be anywhere, on any colour; LGM expects them large, centred, on white."""
    view = torch.full((48, 48, 3), 0.4)
    view[4:16, 4:12] = torch.tensor([0.9, 0.1, 0.1])
    framed = frame_view(view, SIZE)
    red = framed[..., 1] < 0.5
    rows, columns = torch.nonzero(red.any(1))[:, 0], torch.nonzero(red.any(0))[:, 0]
    assert abs(len(rows) - 0.75 * SIZE) <= 2
    assert abs(int(rows[0] + rows[-1]) - (SIZE - 1)) <= 2
    assert abs(int(columns[0] + columns[-1]) - (SIZE - 1)) <= 2
    assert float(framed[0, 0].min()) == 1
    blank = torch.full((48, 48, 3), 0.4)
    assert torch.equal(frame_view(blank, 48), blank)


def test_lgm_uses_the_elevation(lgm: L4GM) -> None:
    """All five cameras of the diffusion share the elevation; LGM's rays and the search for the azimuth must use it."""
    expected = object_of(lgm, generated(), 30.0)
    found = consistent_views(lgm, generated(), rendered(expected, [52.0], 30.0)[0], 30.0)
    torch.testing.assert_close(found.gaussians.means, expected.means)
    assert found.azimuth == 52
    torch.testing.assert_close(found.views, rendered(expected, [52.0, 142.0, 232.0, 322.0]).clamp(0, 1), atol=1e-5, rtol=0)


def test_models_with_another_number_of_views_are_refused() -> None:
    with pytest.raises(InputError, match="lgm: expected a model of 4 views, got one of 6"):
        consistent_views(tiny_model(0, replace(TINY_LGM, views=6)), generated(), None)
