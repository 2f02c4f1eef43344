"""A depth map's scale is found by roundness; the middle follows it, and the body lies where the map says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chronosplat.refine.solid.body import build_body
from chronosplat.refine.solid.depth import load_depth_model
from chronosplat.refine.solid.frames import read_frames
from chronosplat.refine.solid.inflate import inflate
from chronosplat.refine.solid.profile import middle_plane, scale_of
from chronosplat.shapes import InputError
from tests.refine.solid.kit import bar, grid, video


def slanted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bar, [64, 64], whose right end is farther: mask, half thickness, its middle, and a map of its front, scaled."""
    mask = bar(32, 32, 0.0, 48, 12, 64)[0] > 0.5
    height = inflate(mask)
    x, _ = grid(64)
    middle = torch.where(mask, 0.5 * (x - 32), 0.0)
    return mask, height, middle, (middle - height) / 7 + 3


def test_the_scale_and_the_middle_are_those_of_a_true_map() -> None:
    mask, height, middle, depth = slanted()
    assert abs(scale_of(depth, mask, height) / 7 - 1) < 0.15
    found = middle_plane(depth, mask, height)
    inner = mask & (height > 3)
    assert float((found - middle)[inner].abs().mean()) < 1.5
    assert float(found[~mask].abs().max()) == 0


def test_a_flat_map_of_a_round_body_gives_a_middle_within_bounds() -> None:
    mask, height, _, _ = slanted()
    assert float(middle_plane(torch.full((64, 64), 2.0), mask, height).abs().max()) <= 24
    assert float(middle_plane(-height, mask, height).abs().max()) < 1e-3  # inflation's own front


def test_a_map_that_is_not_finite_is_refused() -> None:
    mask, height, _, depth = slanted()
    with pytest.raises(InputError, match="depth: the map has values that are not finite"):
        middle_plane(torch.where(mask, torch.nan, depth), mask, height)


def test_the_body_lies_where_the_map_says_and_looks_the_same() -> None:
    frames = read_frames(video([bar(32, 32, 0.0, 48, 12, 64)]))
    depth = slanted()[3]
    flat, body = (build_body(frames, 0, 30, given) for given in (None, depth))
    right = body.pixels[:, 0] > 44
    assert float(body.middles[right].mean()) > 4
    at = body.nodes[:, 0] > 12
    assert float(body.nodes[at, 2].mean()) > 4
    assert float(flat.nodes[:, 2].abs().max()) == 0
    views = [frames.render(b.points[None], torch.tensor([0.6]), torch.tensor([0.95]), b.colors) for b in (flat, body)]
    assert float((views[0][0] - views[1][0]).abs().mean()) < 0.02


def test_a_smaller_map_is_enough() -> None:
    frames = read_frames(video([bar(32, 32, 0.0, 48, 12, 64)]))
    small = torch.nn.functional.avg_pool2d(slanted()[3][None], 2)[0]
    assert float(build_body(frames, 0, 30, small).middles[-1]) > 0


@pytest.mark.parametrize(("kind", "sign"), [("relative", -1), ("metric", 1)])
def test_a_model_is_loaded_and_near_is_near(tmp_path: Path, kind: str, sign: int) -> None:
    """A small random model, from a folder: inverse depth is turned round, depth is kept."""
    transformers = pytest.importorskip("transformers")
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14, out_features=stages,
        reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
        head_hidden_size=4, depth_estimation_type=kind,
    )  # fmt: skip
    network = transformers.DepthAnythingForDepthEstimation(config)
    torch.nn.init.ones_(network.head.conv3.bias)
    network.save_pretrained(tmp_path)
    transformers.DPTImageProcessor(size={"height": 28, "width": 28}, ensure_multiple_of=14).save_pretrained(tmp_path)
    image = torch.rand(20, 30, 3)
    depth = load_depth_model(str(tmp_path))(image)
    assert depth.shape == (20, 30)
    assert bool(torch.isfinite(depth).all())
    assert bool((depth.sign() == sign).all())
    with pytest.raises(InputError, match=r"depth_model: .* cannot be loaded"):
        load_depth_model(str(tmp_path / "missing"))
