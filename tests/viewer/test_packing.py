"""Gaussians come back from their bytes, within half a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chronosplat.scenes import Gaussians3D, Gaussians4D, quats_to_matrices
from chronosplat.shapes import InputError
from chronosplat.viewer.blocks import Block, scene_blocks
from chronosplat.viewer.packing import Channel, Place, curve_order, packed, position_bits, quantised
from tests.scene_kit import law, moving_scene, seeds, static_scene
from tests.viewer.kit import frame_shells, moving_shell, shell, skinned_shell, static_shell, unpacked

ROWS = {"means": (0, 1, 2), "colors": (3, 4, 5), "opacities": (6,), "scales": (7, 8, 9), "roots": (10, 11, 12)}


def values(block: Block, name: str) -> Tensor:
    """The numbers of some rows, [N, C]."""
    integers = unpacked(block.count, block.channels, block.data)
    rows = {int(channel[4]): channel[5] + channel[6] * q for channel, q in zip(block.channels, integers, strict=True)}
    return torch.from_numpy(np.stack([rows[row] for row in ROWS[name]], -1))


def quats_of(block: Block) -> Tensor:
    """The quaternions [N, 4]."""
    integers = unpacked(block.count, block.channels, block.data)
    at = {int(channel[2]): q for channel, q in zip(block.channels, integers, strict=True) if channel[1] == 4}
    others = torch.from_numpy(np.stack([at[9 * k] for k in range(3)], -1)).double() / 511
    others = (others - 0.5) * math.sqrt(2)
    largest = torch.from_numpy(at[27])[:, None]
    found = torch.zeros(len(others), 4, dtype=torch.float64)
    found.scatter_(-1, largest, (1 - others.square().sum(-1, keepdim=True)).sqrt())
    return found.scatter(-1, (largest + torch.arange(1, 4)) % 4, others)


@law
@given(st.integers(1, 24), seeds(), st.booleans())
def test_integers_come_back_whatever_differences_are_stored(bits: int, seed: int, is_smooth: bool) -> None:
    random = np.random.default_rng(seed)
    first = random.integers(0, 1 << bits, 50, dtype=np.uint32)
    first = np.sort(first) if is_smooth else first
    second = (first + random.integers(0, 3, 50, dtype=np.uint32)) & np.uint32((1 << bits) - 1)
    channels, data = packed([Channel(first, bits, Place(0)), Channel(second, bits, Place(1), is_alike=True)])
    found = unpacked(50, channels, data)
    assert (found[0] == first).all()
    assert (found[1] == second).all()


def test_every_kind_of_difference_is_used_where_it_helps() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 1 << 16, 4000, dtype=np.uint32)
    smooth = np.arange(4000, dtype=np.uint32)
    ways = {}
    for name, first, second in (
        ("none", smooth, noise),
        ("gaussian", noise, smooth),
        ("channel", noise, noise + np.uint32(0)),
        ("both", noise, noise + smooth & np.uint32(65535)),
    ):
        channels, _ = packed([Channel(first, 16, Place(0)), Channel(second, 16, Place(1), is_alike=True)])
        ways[name] = channels[1][3]
    assert ways == {"none": 0, "gaussian": 1, "channel": 2, "both": 3}


@law
@given(st.integers(1, 24), seeds())
def test_numbers_come_back_within_half_a_step(bits: int, seed: int) -> None:
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for k, channel in enumerate(quantised(x, bits, [Place(0), Place(1)], 0)):
        back = channel.low + channel.step * channel.values.astype(np.float64)
        assert np.abs(back - x[:, k].numpy()).max() <= channel.step / 2 + 1e-12
        assert channel.step <= (x.max() - x.min()) / (2**bits - 1) + 1e-12


def test_equal_numbers_need_no_step() -> None:
    (channel,) = quantised(torch.full((3, 1), 0.7), 8, [Place(0)], 0)
    assert (channel.step, channel.values.tolist()) == (0.0, [0, 0, 0])
    assert channel.low == pytest.approx(0.7)


def test_a_block_holds_its_gaussians() -> None:
    scene = static_shell()
    header, blocks = scene_blocks(scene, 4)
    (block,) = blocks
    assert header == {"form": "static"}
    assert block.count == scene.num_gaussians
    order = curve_order(scene.means)
    assert (values(block, "means") - scene.means[order]).abs().max() < 1.1 / 2**13 / 2 + 1e-6
    assert (values(block, "colors") - scene.colors[order]).abs().max() <= 0.5 / 255 + 1e-6
    assert (values(block, "opacities")[:, 0] - scene.opacities[order]).abs().max() <= 0.5 / 255 + 1e-6
    assert (values(block, "scales").exp() / scene.scales[order] - 1).abs().max() < 0.01
    turned = quats_to_matrices(quats_of(block)).transpose(-1, -2) @ quats_to_matrices(scene.quats[order].double())
    angles = torch.acos(((turned.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1))
    assert float(angles.rad2deg().max()) < 0.6


def test_velocities_are_finest_where_they_are_small() -> None:
    scene = moving_shell()
    (block,) = scene_blocks(scene, 4)[1]
    roots = values(block, "roots")
    kept = scene.opacities >= 0.05
    velocities = scene.velocities[kept][curve_order(scene.means[kept])]
    off = (roots.sign() * roots.square() - velocities).abs()
    assert float(off.max()) < 2e-4
    assert float(off[velocities.abs() < 0.01].max()) < 4e-5


def test_positions_are_finer_than_small_gaussians_far_apart() -> None:
    near = torch.rand(100, 3)
    assert position_bits(near, torch.full((100, 3), 0.05)) == 13
    assert position_bits(near, torch.full((100, 3), 1e-4)) == pytest.approx(math.log2(1 / 5e-6), abs=1)
    assert position_bits(near, torch.full((100, 3), 1e-12)) == 24


@pytest.mark.parametrize(("scene", "least"), [(static_scene(200), 1 / 255), (moving_scene(200), 0.05)], ids=["static", "linear"])
def test_what_the_renderer_never_shows_is_left_out(scene: Gaussians3D | Gaussians4D, least: float) -> None:
    faint = scene.map(lambda x: x)
    faint.opacities[::2] = least * 0.9
    (block,) = scene_blocks(faint, 4)[1]
    assert block.count <= 100
    assert float(values(block, "opacities").min()) >= least * 0.95


def test_gaussians_outside_the_time_of_a_scene_are_left_out() -> None:
    scene = moving_shell()
    scene.time_centers[:1000], scene.time_sigmas[:1000] = 40.0, 1.0
    (block,) = scene_blocks(scene, 4)[1]
    assert block.count == int((scene.opacities[1000:] >= 0.05).sum())


def test_frames_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = frame_shells()
    calls: list[int] = []
    evaluate = type(scene).evaluate
    monkeypatch.setattr(type(scene), "evaluate", lambda self, seconds: calls.append(len(seconds)) or evaluate(self, seconds))
    header, blocks = scene_blocks(scene, 99)
    assert header == {"form": "frames", "times": scene.times.tolist()}
    assert calls == []
    assert [next(blocks).count, len(calls)] == [2500, 1]
    assert [len(list(blocks)), calls] == [3, [1] * 4]


def test_a_body_is_stored_once() -> None:
    header, blocks = scene_blocks(skinned_shell(), 99)
    assert [header[name] for name in ("form", "nodes", "joints", "groups")] == ["skinned", 8, 4, 6]
    assert [block.count for block in blocks] == [2500]


def test_values_that_are_not_finite_are_refused() -> None:
    scene = static_scene(5)
    scene.means[2, 1] = float("nan")
    with pytest.raises(InputError, match="means: 1 of 15 values"):
        list(scene_blocks(scene, 4)[1])


def test_neighbours_in_space_are_neighbours_in_the_file() -> None:
    means = shell(2000)["means"]
    order = curve_order(means)
    assert sorted(order.tolist()) == list(range(2000))
    steps = lambda x: float((x[1:] - x[:-1]).norm(dim=-1).mean())
    assert steps(means[order]) < 0.15 * steps(means)
