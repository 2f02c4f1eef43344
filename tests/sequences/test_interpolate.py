"""Two frames between every two: blends in, four frames out, even timestamps."""

from __future__ import annotations

import pytest
import torch

from chronosplat.models.l4gm import input_maps
from chronosplat.sequences import interpolate_pair
from chronosplat.sequences.interpolate import interpolated_times
from chronosplat.shapes import InputError
from tests.l4gm_kit import TINY, tiny_model
from tests.sequences.kit import side_views


def test_the_network_sees_linear_blends() -> None:
    model = tiny_model(1)
    before, after = side_views(32, 1), side_views(32, 2)
    seen: list[torch.Tensor] = []
    with model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        found = interpolate_pair(model, before, after)
    rgb = torch.stack([before, (2 * before + after) / 3, (before + 2 * after) / 3, after])
    torch.testing.assert_close(seen[0], input_maps(rgb[None], TINY), atol=2e-6, rtol=0)  # two roundings of values up to 2.6
    with torch.no_grad():
        wanted = model(seen[0])
    for name, value in wanted.fields().items():
        assert value.shape[:2] == (1, 4)
        assert torch.equal(found.fields()[name], value), name


def test_the_ends_are_the_given_frames() -> None:
    seen: list[torch.Tensor] = []
    model = tiny_model(1)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    before, after = side_views(32, 1), side_views(32, 2)
    interpolate_pair(model, before, after)
    assert torch.equal(seen[0][0, :4], input_maps(before[None, None], TINY)[0])
    assert torch.equal(seen[0][0, -4:], input_maps(after[None, None], TINY)[0])


def test_a_still_pair_gives_the_network_four_times_the_same() -> None:
    seen: list[torch.Tensor] = []
    model = tiny_model(1)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    interpolate_pair(model, side_views(32), side_views(32))
    maps = seen[0][0].unflatten(0, (4, 4))
    assert torch.equal(maps, maps[:1].expand_as(maps))


def test_times_are_even_between_uneven_frames() -> None:
    times = torch.tensor([0.0, 0.3, 0.9], dtype=torch.float64)
    torch.testing.assert_close(interpolated_times(times), torch.tensor([0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64))
    assert torch.equal(interpolated_times(times)[::3], times)
    assert torch.equal(interpolated_times(times[:1]), times[:1])


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError, match="after: expected shape"):
        interpolate_pair(tiny_model(), side_views(32), side_views(32)[:2])
