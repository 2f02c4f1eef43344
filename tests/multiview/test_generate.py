"""From what the diffusion draws to four views that fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chronosplat import InputError
from chronosplat.cameras import orbit
from chronosplat.models.l4gm import L4GM, input_maps
from chronosplat.multiview import Diffusion, DiffusionOptions, best_azimuth, generate_views
from chronosplat.multiview.diffusion import Step, resized
from chronosplat.multiview.generate import Generated, framed
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D
from tests.l4gm_kit import TINY_LGM, tiny_model
from tests.multiview.kit import DRAWN, coloured_picture, diffusion_folder, needs_extra

SIZE = TINY_LGM.input_size
CAT = DiffusionOptions("a cat", steps=2)


class Drawn(Diffusion):
    """Stands in for a diffusion model: draws coloured blocks, and remembers what it was asked."""

    def __init__(self, size: int = 24) -> None:
        self.drawn = torch.stack([coloured_picture(size, seed) for seed in range(4)])
        self.asked: list[tuple[Tensor | None, DiffusionOptions, int]] = []

    def draw(self, picture: Tensor | None, options: DiffusionOptions, seed: int = 0, step: Step = lambda _done, _all: None) -> Tensor:
        self.asked.append((picture, options, seed))
        step(1, 1)
        return self.drawn


@pytest.fixture(scope="module")
def lgm() -> L4GM:
    return tiny_model(3, TINY_LGM)


def object_of(lgm: L4GM, drawn: Tensor, elevation: float = 0.0, text: bool = False) -> Gaussians3D:
    """What LGM makes of drawn pictures; those of a text are cut out and framed."""
    views = torch.stack([framed(view, SIZE) for view in drawn]) if text else resized(drawn, SIZE)
    with torch.no_grad():
        fields = lgm(input_maps(views[None, None], lgm.config, elevation)).fields()
    return Gaussians3D(**{name: value[0, 0] for name, value in fields.items()})


def seen(gaussians: Gaussians3D, azimuths: list[float], elevation: float = 0.0) -> Tensor:
    return render(gaussians, orbit(azimuths, elevation, SIZE, TINY_LGM.radius, TINY_LGM.fovy)).rgb


def check(made: Generated, lgm: L4GM, drawn: Tensor, text: bool = False) -> None:
    """Views are four sides of LGM's object, from the azimuth that was found."""
    assert torch.equal(made.drawn, drawn)
    expected = object_of(lgm, drawn, text=text)
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(getattr(made.gaussians, name), tensor)
    assert made.views.shape == (4, SIZE, SIZE, 3)
    assert float(made.views.min()) >= 0
    assert float(made.views.max()) <= 1
    sides = [made.azimuth + side for side in (0.0, 90.0, 180.0, 270.0)]
    torch.testing.assert_close(made.views, seen(made.gaussians, sides).clamp(0, 1), atol=1e-5, rtol=0)
    assert float((made.views[0] - made.views[2]).abs().max()) > 1e-2


def test_views_of_a_picture(tmp_path: Path, lgm: L4GM) -> None:
    needs_extra()
    picture = coloured_picture(SIZE)
    model = Diffusion(diffusion_folder(tmp_path))
    steps: list[tuple[int, int]] = []
    made = generate_views(model, lgm, picture, CAT, 5, lambda done, all_: steps.append((done, all_)))
    assert made.drawn.shape == (4, DRAWN, DRAWN, 3)
    check(made, lgm, model.draw(picture, CAT, 5))
    assert made.azimuth == best_azimuth(made.gaussians, picture, lgm.config)
    assert steps == [(1, 2), (2, 2)]


@pytest.mark.parametrize("azimuth", [-180, -67, 0, 41, 137])
def test_the_first_view_looks_as_the_picture_does(lgm: L4GM, azimuth: int) -> None:
    model = Drawn()
    picture = seen(object_of(lgm, model.drawn), [float(azimuth)])[0]
    made = generate_views(model, lgm, picture, seed=7)
    assert made.azimuth == azimuth
    check(made, lgm, model.drawn)
    torch.testing.assert_close(made.views[0], picture.clamp(0, 1), atol=1e-5, rtol=0)
    (given, options, seed), = model.asked  # fmt: skip
    assert given is picture
    assert (options, seed) == (DiffusionOptions(), 7)


def test_a_text_alone_is_not_turned(lgm: L4GM) -> None:
    model = Drawn()
    made = generate_views(model, lgm, None, CAT)
    assert made.azimuth == 0
    assert model.asked == [(None, CAT, 0)]
    check(made, lgm, model.drawn, text=True)


def test_drawings_of_a_text_are_cut_out_and_framed() -> None:
    """They stand anywhere, on any colour; LGM wants them large, in the middle, on white."""
    drawing = torch.full((48, 48, 3), 0.4)
    drawing[4:16, 4:12] = torch.tensor([0.9, 0.1, 0.1])
    view = framed(drawing, SIZE)
    red = view[..., 1] < 0.5
    rows, columns = torch.nonzero(red.any(1))[:, 0], torch.nonzero(red.any(0))[:, 0]
    assert abs(len(rows) - 0.75 * SIZE) <= 2
    assert abs(int(rows[0] + rows[-1]) - (SIZE - 1)) <= 2
    assert abs(int(columns[0] + columns[-1]) - (SIZE - 1)) <= 2
    assert float(view[0, 0].min()) == 1
    nothing = torch.full((48, 48, 3), 0.4)
    assert torch.equal(framed(nothing, 48), nothing)


def test_pictures_of_lgms_own_size_are_taken_as_they_are(lgm: L4GM) -> None:
    picture = coloured_picture(SIZE, 9)
    check(generate_views(Drawn(SIZE), lgm, picture, CAT), lgm, Drawn(SIZE).drawn)


def test_lgm_is_told_from_how_high_the_pictures_were_taken(lgm: L4GM) -> None:
    """All five cameras of the diffusion stand at the elevation, so LGM's rays and the search for the azimuth must too."""
    model = Drawn()
    expected = object_of(lgm, model.drawn, 30.0)
    picture = seen(expected, [52.0], 30.0)[0]
    made = generate_views(model, lgm, picture, DiffusionOptions(elevation=30.0))
    torch.testing.assert_close(made.gaussians.means, expected.means)
    assert made.azimuth == 52
    torch.testing.assert_close(made.views, seen(expected, [52.0, 142.0, 232.0, 322.0]).clamp(0, 1), atol=1e-5, rtol=0)


def test_neither_picture_nor_text_is_refused(lgm: L4GM) -> None:
    model = Drawn()
    with pytest.raises(InputError, match="multiview: give a picture, or a text with --prompt"):
        generate_views(model, lgm, None, DiffusionOptions(negative="blurry"))
    assert model.asked == []


@pytest.mark.parametrize("shape", [(16, 16, 3), (SIZE, SIZE, 4), (SIZE, 20, 3), (1, SIZE, SIZE, 3)])
def test_pictures_of_other_shapes_are_refused(lgm: L4GM, shape: tuple[int, ...]) -> None:
    model = Drawn()
    with pytest.raises(InputError, match=r"picture: expected shape \[32, 32, 3\]"):
        generate_views(model, lgm, torch.ones(shape))
    assert model.asked == []


def test_models_of_another_number_of_views_are_refused() -> None:
    model = Drawn()
    with pytest.raises(InputError, match="lgm: expected a model of 4 views, got one of 6"):
        generate_views(model, tiny_model(0, replace(TINY_LGM, views=6)), None, CAT)
    assert model.asked == []
