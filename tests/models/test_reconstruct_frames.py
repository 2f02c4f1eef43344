"""L4GM on a posed capture: the network on the right images, and the sequence in the capture's own world and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import CANONICAL, RADIUS, Similarity, orbit
from chronosplat.captures import Views
from chronosplat.models.l4gm import L4GM, PredictedSplats, input_maps
from chronosplat.models.l4gm.reconstruct import reconstruct_frames
from chronosplat.render import render
from chronosplat.scenes import GaussianSequence
from chronosplat.shapes import InputError
from tests.captures.test_rig import SECONDS, SIZE, moved, ring, standing, synchronised
from tests.l4gm_kit import TINY, TINY_LGM, tiny_model
from tests.scene_kit import tilted_world

SHUFFLED = [8, 3, 5, 1, 11, 4, 0, 10, 2, 7, 6, 9]


def by_hand(model: L4GM, rgb: Tensor) -> dict[str, Tensor]:
    """The fields [T, N, ...] that the network gives for images [T, V, H, W, 3] on white."""
    with torch.no_grad():
        predicted = model(input_maps(rgb[None], model.config))
    assert isinstance(predicted, PredictedSplats)
    return {name: value[0] for name, value in predicted.fields().items()}


def pictures() -> Tensor:
    """[3, 4, H, W, 3] on white, by timestamp and azimuth."""
    return synchronised().on_white().unflatten(0, (3, 4))


def assert_fields(found: GaussianSequence, wanted: dict[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        assert torch.equal(getattr(found, name), tensor), name


@pytest.mark.parametrize("order", [range(12), SHUFFLED], ids=["in order", "shuffled"])
@pytest.mark.parametrize("world", [Similarity(), tilted_world()], ids=["plain", "tilted"])
def test_four_cameras_are_the_network_s_input(order: Sequence[int], world: Similarity) -> None:
    model = tiny_model()
    found = model.reconstruct(moved(synchronised(), world, order))
    assert_fields(found, by_hand(model, pictures()))
    assert found.times.tolist() == list(SECONDS)
    assert found.means.shape == (3, 4 * TINY.splat_size**2, 3)
    torch.testing.assert_close(found.world.matrix(), world.matrix(), atol=1e-5, rtol=1e-5)


def test_both_doors_give_the_same() -> None:
    model = tiny_model()
    door, inner = model.reconstruct(synchronised()), reconstruct_frames(model, synchronised(), model.config, torch.device("cpu"))
    assert_fields(door, {name: tensor for name, tensor in inner.tensors().items() if name != "times"})
    assert torch.equal(door.times, inner.times)


def test_images_show_in_the_result() -> None:
    """So the equalities here say something."""
    model, swapped = tiny_model(), pictures()[:, [0, 1, 3, 2]]
    plain, other = by_hand(model, pictures()), by_hand(model, swapped)
    assert float((plain["means"] - other["means"]).abs().max()) > 1e-3
    assert not torch.equal(plain["colors"][0], plain["colors"][1])


def test_another_reference_camera_turns_the_result() -> None:
    model = tiny_model()
    order = [i for i in range(12) if i % 4 == 1] + [i for i in range(12) if i % 4 != 1]
    found = model.reconstruct(moved(synchronised(), tilted_world(), order))
    assert_fields(found, by_hand(model, pictures()[:, [1, 2, 3, 0]]))


def test_where_later_timestamps_lack_the_sides_the_first_ones_stand_in() -> None:
    model, kept = tiny_model(), [0, 1, 2, 3, 4, 8, 10]
    rgb = pictures().clone()
    rgb[1, 1:] = rgb[0, 1:]
    rgb[2, [1, 3]] = rgb[0, [1, 3]]
    found = model.reconstruct(moved(synchronised(), tilted_world(), [8, 4, 2, 0, 1, 3, 10]))
    assert_fields(found, by_hand(model, rgb))
    assert_fields(model.reconstruct(synchronised()[kept]), by_hand(model, rgb))


def test_one_timestamp() -> None:
    model = tiny_model(config=TINY_LGM)
    found = model.reconstruct(synchronised()[range(4, 8)])  # pyright: ignore[reportArgumentType]
    assert_fields(found, by_hand(model, pictures()[1:2]))
    assert found.seconds == (2.5, 2.5)


def test_timestamps_of_other_cameras_are_no_frames() -> None:
    model, x = tiny_model(), synchronised()
    late = replace(x[[1, 2]], times=torch.tensor([3.0, 3.5], dtype=torch.float64))
    both = Views(
        torch.cat([x.images, late.images]),
        torch.cat([x.alphas, late.alphas]),
        x.cameras[[*range(12), 1, 2]],
        torch.cat([x.times, late.times]),
        x.up,
    )
    found = model.reconstruct(both)
    assert found.times.tolist() == list(SECONDS)
    assert_fields(found, by_hand(model, pictures()))


@pytest.mark.parametrize(
    ("azimuths", "said"),
    [((0, 90, 180), "270"), ((0, 180), "90, 270"), ((0,), "90, 180, 270"), ((0, 98, 180, 270), "90"), ((33, 123, 303), "180")],
)
def test_missing_sides_are_named(azimuths: tuple[float, ...], said: str) -> None:
    with pytest.raises(
        InputError, match=f"^views: the first timestamp is not seen from azimuth {said} degrees; see chronosplat multiview$"
    ):
        tiny_model().reconstruct(standing(ring(*azimuths), size=SIZE))


def test_sides_of_a_later_timestamp_are_not_enough() -> None:
    times = [1.0, 2.0, 2.0, 2.0, 2.0]
    with pytest.raises(InputError, match="the first timestamp is not seen from azimuth 90, 180, 270 degrees"):
        tiny_model().reconstruct(standing(ring(0, 0, 90, 180, 270), times, size=SIZE))


def test_networks_of_other_numbers_of_views() -> None:
    config = replace(TINY, views=3)
    model, views = tiny_model(config=config), standing(ring(0, 120, 240), size=SIZE)
    assert_fields(model.reconstruct(views), by_hand(model, views.on_white()[None]))
    with pytest.raises(InputError, match=r"not seen from azimuth 120, 240 degrees"):
        model.reconstruct(standing(ring(0, 90, 180, 270), size=SIZE))


def test_a_camera_that_looks_down_is_refused() -> None:
    with pytest.raises(InputError, match="the first camera is at 20; use a 4d-lrm model"):
        tiny_model().reconstruct(standing([(0, 20, RADIUS), *ring(90, 180, 270)], size=SIZE))


def test_the_capture_s_own_cameras_see_what_the_network_s_do() -> None:
    """Far away, turned and larger: the images stay, but for a pixel's threshold here and there."""
    model, world = tiny_model(), tilted_world()
    x = moved(synchronised(), world, SHUFFLED)
    scene = model.reconstruct(x)
    there = render(scene, x.cameras, x.times, backend="cpu")
    fields = by_hand(model, pictures())
    plain = GaussianSequence(**fields, times=torch.tensor(SECONDS, dtype=torch.float64))  # pyright: ignore[reportArgumentType]
    cameras = orbit([CANONICAL[i % 4] for i in SHUFFLED], 0.0, SIZE)
    here = render(plain, cameras, [SECONDS[i // 4] for i in SHUFFLED], backend="cpu")
    assert float(here.alpha.max()) > 0.3
    assert float((there.rgb - here.rgb).abs().mean()) < 1e-6
    assert float((there.rgb - here.rgb).abs().max()) < 2e-2
    seen = here.alpha > 0.3
    ratio = there.depth[seen] / here.depth[seen]
    torch.testing.assert_close(ratio, torch.full_like(ratio, world.scale), rtol=1e-4, atol=0)
    moment = scene.at(2.5)
    torch.testing.assert_close(moment.means, world.points(fields["means"][1]), atol=1e-3, rtol=1e-4)


def test_images_of_another_size_and_lens_are_framed() -> None:
    """What the network is given is framed as its training was."""
    model, x = tiny_model(), synchronised()
    wide = orbit(CANONICAL, 0.0, 48, fovy=70.0).to(dtype=torch.float64)
    images = torch.rand(4, 48, 48, 3, generator=torch.Generator().manual_seed(0))
    views = Views(images, torch.ones(4, 48, 48, 1), wide, torch.zeros(4, dtype=torch.float64), x.up)
    found = model.reconstruct(moved(views, tilted_world()))
    assert_fields(found, by_hand(model, views.framed(TINY.fovy, SIZE).on_white()[None]))


def test_a_lowered_network_takes_captures_too() -> None:
    found = tiny_model().lowered(torch.bfloat16).reconstruct(synchronised())
    wanted = tiny_model().reconstruct(synchronised())
    assert {t.dtype for name, t in found.tensors().items() if name != "times"} == {torch.float32}
    assert 0 < float((found.means - wanted.means).abs().mean()) < 0.02 * float(wanted.means.std())
