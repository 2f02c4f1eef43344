"""Training samples: pairs, times, sizes, and batches that are pure functions of their step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.cameras import RADIUS, rigid_inverse
from chronosplat.data import sampling
from chronosplat.data.bank import BankRecipe, ClipBank
from chronosplat.data.clipset import ClipSet
from chronosplat.data.sample import encode_sample, parse_sample
from chronosplat.data.sampling import PATTERNS, Pairs, Phase, canonical_first, input_count, sample_pairs, shrink, training_batch
from chronosplat.data.shards import write_shard
from chronosplat.shapes import InputError
from tests.data.shard_kit import small_clip

PHASE = Phase(until=1.0, size=16, images=12, targets=3, static=0.2)
MOVING = Phase(until=1.0, size=16, images=12, targets=3, static=0.0)
STILL = Phase(until=1.0, size=16, images=12, targets=3, static=1.0)
VIEWS, FRAMES = 6, 5


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ClipBank:
    """A small bank."""
    return ClipBank(BankRecipe(size=16, frames=FRAMES, extra_views=VIEWS - 4, samples=1), tmp_path_factory.mktemp("bank"))


# pairs


def drawn(monkeypatch: pytest.MonkeyPatch, pattern: str, seed: int, count: int, frames: int = 24, static: bool = False) -> Pairs:
    """Pairs of one pattern."""
    monkeypatch.setattr(sampling, "PATTERNS", {pattern: 1.0})
    return sample_pairs(np.random.default_rng(seed), VIEWS, frames, count, 4, static)


def test_shares_of_the_patterns_add_up_to_one() -> None:
    assert sum(PATTERNS.values()) == pytest.approx(1)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_every_count_is_met(monkeypatch: pytest.MonkeyPatch, pattern: str, static: bool) -> None:
    for count in range(1, 25):
        for seed in range(8):
            for frames in (1, 3, 24):
                pairs = drawn(monkeypatch, pattern, seed, count, frames, static)
                assert len(pairs.inputs) == count
                assert len(pairs.targets) == 4
                for v, t in pairs.inputs + pairs.targets:
                    assert 0 <= v < VIEWS
                    assert 0 <= t < frames
                    assert type(v) is type(t) is int


@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_static_pairs_share_one_moment(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    for seed in range(30):
        pairs = drawn(monkeypatch, pattern, seed, 1 + seed % 12, static=True)
        assert len({t for _, t in pairs.inputs + pairs.targets}) == 1


@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_targets_of_another_moment_need_inputs_that_move(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Inputs of one moment have no time axis: a target of another moment would be asked for at the inputs' own time."""
    for count in range(1, 25):
        for seed in range(8):
            pairs = drawn(monkeypatch, pattern, seed, count)
            if len({t for _, t in pairs.inputs}) == 1:
                assert {t for _, t in pairs.targets} == {t for _, t in pairs.inputs}, f"count {count}, seed {seed}"


def test_alternating_goes_round_the_canonical_views_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(10):
        pairs = drawn(monkeypatch, "alternating", seed, 8)
        assert [v for v, _ in pairs.inputs] == [0, 1, 2, 3] * 2
        times = [t for _, t in pairs.inputs]
        assert times == sorted(times)
        assert len(set(times)) == 8  # with 24 frames, eight pictures need not share any


def test_video_is_one_camera_and_perhaps_views_of_its_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = set()
    for seed in range(60):
        pairs = drawn(monkeypatch, "video", seed, 9)
        camera, first = pairs.inputs[0]
        video = [t for v, t in pairs.inputs if v == camera]
        others = [(v, t) for v, t in pairs.inputs if v != camera]
        assert video == sorted(video)
        assert others in ([], [(1, first), (2, first), (3, first)])
        kinds.add(bool(others))
        if others:
            assert camera == 0
    assert kinds == {False, True}


def test_synchronous_cameras_share_their_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(20):
        pairs = drawn(monkeypatch, "synchronous", seed, 12)
        for k in range(3):
            group = pairs.inputs[4 * k : 4 * k + 4]
            assert [v for v, _ in group] == [0, 1, 2, 3]
            assert len({t for _, t in group}) == 1
        assert len({t for _, t in pairs.inputs}) == 3


def test_random_covers_all_views(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {v for seed in range(20) for v, _ in drawn(monkeypatch, "random", seed, 12).inputs}
    assert seen == set(range(VIEWS))


def test_targets_see_canonical_and_other_views(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = [[v for v, _ in drawn(monkeypatch, "random", s, 4).targets] for s in range(60)]
    assert {v for row in cameras for v in row[1::2]} == set(range(4))
    assert {v for row in cameras for v in row[0::2]} == set(range(VIEWS))


def test_a_video_that_stands_still_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(20):
        pairs = drawn(monkeypatch, "video", seed, 12, static=True)
        assert len({v for v, _ in pairs.inputs}) >= 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_input_count_is_bounded(seed: int, most: int) -> None:
    assert 1 <= input_count(np.random.default_rng(seed), most) <= most


def test_input_count_is_about_eight_or_all() -> None:
    counts = [input_count(np.random.default_rng(s), 24) for s in range(600)]
    assert 0.25 < counts.count(24) / 600 < 0.38
    assert 6 <= np.median([c for c in counts if c < 24]) <= 10


# batches


@pytest.mark.parametrize("step", range(6))
def test_batch_is_a_pure_function_of_seed_and_step(bank: ClipBank, step: int) -> None:
    one, two = (training_batch(bank, step, PHASE, 4, seed=5) for _ in range(2))
    for name in ("rgba", "times", "viewmats", "Ks"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert one.inputs == two.inputs


def test_a_fresh_bank_gives_the_same_batch(bank: ClipBank, tmp_path: Path) -> None:
    one, two = (training_batch(b, 3, PHASE, 4, seed=5) for b in (bank, ClipBank(bank.recipe, tmp_path)))
    assert torch.equal(one.rgba, two.rgba)
    assert torch.equal(one.viewmats, two.viewmats)


def test_steps_and_seeds_differ(bank: ClipBank) -> None:
    batches = [training_batch(bank, step, PHASE, 4, seed) for step, seed in ((0, 0), (1, 0), (0, 1), (1, 1))]
    for i, a in enumerate(batches):
        for b in batches[:i]:
            assert a.rgba.shape != b.rgba.shape or not torch.equal(a.rgba, b.rgba)


@pytest.mark.parametrize("pictures", [1, 5, 12, 40])
def test_pictures_are_bounded(bank: ClipBank, pictures: int) -> None:
    phase = Phase(until=1.0, size=16, images=pictures, targets=2)
    counts = set()
    for step in range(12):
        batch = training_batch(bank, step, phase, 4, seed=0)
        samples = batch.rgba.shape[0]
        assert 1 <= samples * batch.inputs <= pictures
        assert (samples + 1) * batch.inputs > pictures  # one sample more would not fit
        counts.add(batch.inputs)
    assert max(counts) <= min(24, pictures)
    assert pictures < 12 or len(counts) > 1


def test_shapes_and_ranges(bank: ClipBank) -> None:
    for step in range(10):
        batch = training_batch(bank, step, PHASE, 4, seed=1)
        B, F = batch.times.shape
        assert batch.inputs + 3 == F
        assert batch.rgba.shape == (B, F, 16, 16, 4)
        assert batch.viewmats.shape == (B, F, 4, 4)
        assert batch.Ks.shape == (B, F, 3, 3)
        assert {t.dtype for t in (batch.rgba, batch.times, batch.viewmats, batch.Ks)} == {torch.float32}
        assert 0 <= batch.rgba.min() <= batch.rgba.max() <= 1
        assert torch.isfinite(batch.viewmats).all()
        inputs = batch.times[:, : batch.inputs]
        assert inputs.min() >= -1
        assert inputs.max() <= 1


def test_moving_inputs_span_the_whole_of_time(bank: ClipBank) -> None:
    spans = []
    for step in range(20):
        batch = training_batch(bank, step, MOVING, 4, seed=2)
        inputs = batch.times[:, : batch.inputs]
        for row in inputs:
            assert (row.min().item(), row.max().item()) in ((-1.0, 1.0), (0.0, 0.0))
            spans.append(row.max().item())
    assert np.mean(spans) > 0.7


def test_static_batches_have_no_time(bank: ClipBank) -> None:
    for step in range(8):
        assert not training_batch(bank, step, STILL, 4, seed=3).times.any()


def test_share_of_static_steps(bank: ClipBank) -> None:
    phase = Phase(until=1.0, size=16, images=8, targets=1, static=0.5)
    still = [not training_batch(bank, step, phase, 2, seed=0).times.any() for step in range(60)]
    assert 18 < sum(still) < 45


def test_world_is_normalised_by_the_inputs(bank: ClipBank) -> None:
    distances = []
    for step in range(12):
        batch = training_batch(bank, step, MOVING, 4, seed=4)
        if batch.inputs < 3:
            continue
        centers = rigid_inverse(batch.viewmats[:, : batch.inputs])[..., :3, 3]
        assert (centers[:, 0, 0].abs() < 1e-3).all()  # the first camera stands at azimuth zero
        assert (centers[:, 0, 2] > 0).all()
        distances += (centers.norm(dim=-1).mean(1) / RADIUS).log().tolist()
    assert abs(float(np.mean(distances))) < 0.03
    assert 0.01 < float(np.std(distances)) < 0.08  # the jitter in scale


def test_pictures_belong_to_their_cameras_and_times(bank: ClipBank, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = Pairs([(0, 1), (2, 3)], [(5, 2), (1, 4), (0, 0)])
    monkeypatch.setattr(sampling, "sample_pairs", lambda *_: pairs)
    batch = training_batch(bank, 0, Phase(until=1.0, size=16, images=24, targets=3), 1, seed=0)
    clip = bank.clip(0)
    for k, (v, t) in enumerate(pairs.inputs + pairs.targets):
        assert torch.equal(batch.rgba[0, k], torch.from_numpy(clip.read([t], [v])[0]).float() / 255)
        assert torch.equal(batch.Ks[0, k], torch.from_numpy(clip.Ks[t, v].copy()))
    assert batch.times[0].tolist() == [-1, 1, 0, 2, -2]
    relative = batch.viewmats[0, 1] @ rigid_inverse(batch.viewmats[0, 0])
    viewmats = torch.from_numpy(clip.viewmats[0].copy())
    expected = viewmats[2] @ rigid_inverse(viewmats[0])
    torch.testing.assert_close(relative[:3, :3], expected[:3, :3], atol=1e-5, rtol=0)


def test_smaller_pictures_keep_their_field_of_view(bank: ClipBank) -> None:
    full = training_batch(bank, 2, MOVING, 4, seed=0)
    half = training_batch(bank, 2, Phase(until=1.0, size=8, images=12, targets=3, static=0.0), 4, seed=0)
    assert half.rgba.shape[2:] == (8, 8, 4)
    torch.testing.assert_close(half.Ks[..., :2, :] * 2, full.Ks[..., :2, :])
    torch.testing.assert_close(half.viewmats, full.viewmats)
    torch.testing.assert_close(half.rgba[..., 3].mean(), full.rgba[..., 3].mean(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [12, 32])
def test_sizes_that_do_not_divide_the_banks_are_refused(bank: ClipBank, size: int) -> None:
    """Pictures are shrunk by whole factors; anything else would part them from their cameras."""
    with pytest.raises(InputError, match=rf"{size}.*16|16.*{size}"):
        training_batch(bank, 0, Phase(until=1.0, size=size, images=4, targets=1), 2, seed=0)


def test_geometry_belongs_to_the_inputs(bank: ClipBank) -> None:
    for step in range(8):
        batch = training_batch(bank, step, MOVING, 4, seed=1)
        B = batch.rgba.shape[0]
        assert batch.geometry.shape == (B, batch.inputs, 16, 16, 4)
        empty = batch.rgba[:, : batch.inputs, ..., 3] == 0
        assert not batch.geometry[empty].any()
        assert (batch.geometry[..., 0][~empty] > 0).all()


def test_depth_lies_on_the_same_object_from_every_camera(bank: ClipBank) -> None:
    """Points unprojected from all inputs of a static batch keep to one object of about unit size around one place."""
    for step in range(6):
        batch = training_batch(bank, step, STILL, 4, seed=2)
        assert not batch.geometry[..., 1:].any()
        for b in range(batch.rgba.shape[0]):
            points = []
            for f in range(batch.inputs):
                y, x = torch.nonzero(batch.rgba[b, f, ..., 3] == 1, as_tuple=True)
                K, depth = batch.Ks[b, f], batch.geometry[b, f, y, x, 0]
                seen = (
                    torch.stack([(x + 0.5 - K[0, 2]) / K[0, 0], (y + 0.5 - K[1, 2]) / K[1, 1], torch.ones_like(depth)], 1) * depth[:, None]
                )
                pose = rigid_inverse(batch.viewmats[b, f])
                points.append(seen @ pose[:3, :3].T + pose[:3, 3])
            cloud = torch.cat(points)
            assert float((cloud.amax(0) - cloud.amin(0)).max()) < 1.25  # the cube's side, and the jitter in scale


def test_to_moves_everything(bank: ClipBank) -> None:
    batch = training_batch(bank, 0, PHASE, 4, seed=0)
    moved = batch.to("meta")
    tensors = {name: value for name, value in vars(moved).items() if isinstance(value, torch.Tensor)}
    assert tensors.keys() == {"rgba", "times", "viewmats", "Ks", "geometry"}
    assert {t.device.type for t in tensors.values()} == {"meta"}
    assert moved.inputs == batch.inputs


# shrinking


def premultiplied_mean(rgba: torch.Tensor) -> torch.Tensor:
    """[F, 4] mean colour weighted by coverage, and mean coverage."""
    return torch.cat([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1).mean((1, 2))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4]), st.floats(0, 1))
def test_shrink_keeps_coverage_and_premultiplied_colour(seed: int, factor: int, empty: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rgba = torch.rand(2, 8, 12, 4, generator=generator, dtype=torch.float64)
    rgba[..., 3] *= torch.rand(2, 8, 12, generator=generator, dtype=torch.float64) > empty
    small = shrink(rgba, factor)
    assert small.shape == (2, 8 // factor, 12 // factor, 4)
    torch.testing.assert_close(premultiplied_mean(small), premultiplied_mean(rgba), atol=1e-9, rtol=0)
    assert small.min() >= 0
    assert small.max() <= 1 + 1e-9


def test_shrink_does_not_darken_edges() -> None:
    rgba = torch.zeros(1, 2, 2, 4)
    rgba[0, 0, 0] = torch.tensor([1.0, 0.5, 0.25, 1.0])
    assert shrink(rgba, 2)[0, 0, 0].tolist() == [1.0, 0.5, 0.25, 0.25]


def test_shrink_of_nothing_is_nothing() -> None:
    assert not shrink(torch.zeros(1, 4, 4, 4), 2).any()


def test_shrink_keeps_orientation() -> None:
    rgba = torch.zeros(1, 4, 8, 4)
    rgba[0, :2, 6:] = 1
    assert torch.nonzero(shrink(rgba, 2)[0, ..., 3]).tolist() == [[0, 3]]


def test_a_data_set_of_shards_is_sampled_like_a_bank(bank: ClipBank, tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-000000.tar", [bank.clip(i).clip() for i in range(3)])
    shards = ClipSet(tmp_path)
    for step in range(4):
        one, other = (training_batch(source, step, MOVING, source.usable(3), seed=0) for source in (bank, shards))
        for name in ("rgba", "times", "viewmats", "Ks", "geometry"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_canonical_views_come_first() -> None:
    for groups, first in (
        ({"canonical": [5, 1, 2, 3], "fixed": [0]}, [5, 1, 2, 3]),
        ({"fixed": list(range(8)), "random": [8, 9]}, [0, 2, 4, 6]),
        ({"fixed": [3, 7]}, [3, 7]),
        ({}, []),
    ):
        clip = parse_sample(encode_sample(replace(small_clip(views=10), groups=groups)), "x")
        order = canonical_first(clip)
        assert order[: len(first)] == first
        assert sorted(order) == list(range(10))


def test_clips_without_geometry_have_none_to_learn_from(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard-000000.tar", [small_clip(views=6)])
    batch = training_batch(ClipSet(tmp_path), 0, MOVING, 1, seed=0)
    assert not batch.geometry.any()
    assert batch.rgba.any()
