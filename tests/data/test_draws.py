"""The papers' samplers: which views are inputs, which are targets, and what the augmentations change."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from chronosplat.cameras import Cameras, orbit
from chronosplat.data.clip import Clip
from chronosplat.data.distort import distort_grid, jitter_cameras
from chronosplat.data.draws import DrawInterpolation, DrawL4GM, DrawLRM4D, Images, Sample, blend, frame_first_view, read_images
from chronosplat.shapes import InputError
from tests.data.shard_kit import same, small_clip

LRM4D = DrawLRM4D(pool=36, inputs=12, targets=8)
L4GM = DrawL4GM(frames=4, inputs=4, views=6, distortion=0, jitter=0)


def l4gm_clip(moving: bool = False, times: int = 9) -> Clip:
    clip = small_clip(times=times, views=16, moving=moving)
    return dataclasses.replace(clip, groups={"fixed": list(range(8)), "random": list(range(8, 16))})


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pairs(clip: Clip, images: Images) -> list[tuple[int, int]]:
    """The (time, view) of images, found by their cameras and pixels."""
    found = []
    for rgba, viewmat in zip(images.rgba, images.viewmats, strict=True):
        hits = (clip.frames == rgba.numpy()).all((2, 3, 4)) & (np.abs(clip.viewmats - viewmat.numpy()).max((2, 3)) < 1e-6)
        times, views = np.nonzero(hits)
        assert len(times) >= 1
        found.append((int(times[0]), int(views[0])))
    return found


def test_lrm4d_draws_from_a_pool_and_overlaps() -> None:
    clip, used, overlaps = small_clip(times=12, views=12), [], 0
    for seed in range(20):
        sample = LRM4D(clip, rng(seed))
        inputs, targets = pairs(clip, sample.inputs), pairs(clip, sample.targets)
        assert (len(inputs), len(targets)) == (12, 8)
        assert inputs == sorted(inputs)  # in temporal order
        assert len({*inputs}) == 12
        assert len({*targets}) == 8
        overlaps += len({*inputs} & {*targets})
        used += inputs
        t = torch.tensor([2 * t / 11 - 1 for t, _ in inputs])
        assert torch.allclose(sample.inputs.times, t)
    assert overlaps / 20 == pytest.approx(12 * 8 / 36, rel=0.3)  # independent draws of a pool of 36
    assert len({*used}) > 100  # of 144


def test_l4gm_repeats_the_first_frames_views() -> None:
    clip = l4gm_clip(moving=True)
    sample = L4GM(clip, rng(1))
    assert sample.inputs.rgba.shape[0] == 4 * 4
    assert sample.targets.rgba.shape[0] == 4 * 6
    inputs, targets = pairs(clip, sample.inputs), pairs(clip, sample.targets)
    views = [v for _, v in targets[:6]]
    assert targets == [(t, v) for t in (0, 2, 4, 6) for v in views]  # four of nine times, evenly
    assert {*views[:4]} <= set(range(8))
    assert {*views[4:]} <= set(range(8, 16))
    assert inputs[:4] == targets[:4]
    for t in range(1, 4):
        assert inputs[4 * t] == (2 * t, views[0])
        assert inputs[4 * t + 1 : 4 * t + 4] == inputs[1:4]
    assert torch.allclose(sample.inputs.times, torch.tensor([-1.0, -0.5, 0.0, 0.5]).repeat_interleave(4))


def test_l4gm_in_evaluation_takes_canonical_views() -> None:
    clip = l4gm_clip()
    one, two = (dataclasses.replace(L4GM, shuffle=False)(clip, rng(s)) for s in (0, 1))
    assert [v for _, v in pairs(clip, one.inputs)[:4]] == [0, 2, 4, 6]
    assert same(one.targets.rgba, two.targets.rgba)


def test_distortion_and_jitter_leave_the_video_and_the_targets() -> None:
    clip = l4gm_clip()
    plain = L4GM(clip, rng(3))
    changed = dataclasses.replace(L4GM, distortion=1, jitter=1)(clip, rng(3))
    for field in ("rgba", "viewmats", "Ks", "times"):
        assert same(getattr(plain.targets, field), getattr(changed.targets, field))
    for t in range(4):
        assert same(plain.inputs.rgba[4 * t], changed.inputs.rgba[4 * t])
        assert same(plain.inputs.viewmats[4 * t], changed.inputs.viewmats[4 * t])
        for v in range(1, 4):
            assert not same(plain.inputs.rgba[4 * t + v], changed.inputs.rgba[4 * t + v])
            assert same(changed.inputs.rgba[v], changed.inputs.rgba[4 * t + v])
            assert same(changed.inputs.viewmats[v], changed.inputs.viewmats[4 * t + v])
            assert not torch.allclose(plain.inputs.viewmats[v], changed.inputs.viewmats[v], atol=1e-3)


def test_interpolation_blends_between_its_ends() -> None:
    clip = l4gm_clip()
    sample = DrawInterpolation(views=6)(clip, rng(2))
    targets = pairs(clip, sample.targets)
    first = targets[0][0]
    assert [t for t, _ in targets[::6]] == [first, first + 1, first + 2, first + 3]
    views = [v for _, v in targets[:4]]
    ends = [read_images(clip, [first + t] * 4, views).rgba for t in (0, 3)]
    assert same(sample.inputs.rgba[:4], ends[0])
    assert same(sample.inputs.rgba[12:], ends[1])
    white = [e[..., :3].float() * e[..., 3:] / 255 + 255 - e[..., 3:] for e in (*ends, sample.inputs.rgba[4:8])]
    assert (white[2] - (2 / 3 * white[0] + 1 / 3 * white[1])).abs().max() < 2  # as a blend of the images on white, in bytes


def test_a_blend_ends_at_its_ends() -> None:
    a, b = (torch.from_numpy(rng(s).integers(1, 256, (4, 4, 4), np.uint8)) for s in (0, 1))
    assert same(blend(a, b, 0), a)
    assert same(blend(a, b, 1), b)


def test_the_first_camera_is_framed_and_the_others_move_with_it() -> None:
    sample = L4GM(l4gm_clip(), rng(5))
    framed = frame_first_view(sample, 1.5)
    size = {"width": 16, "height": 16}
    first = Cameras(framed.inputs.viewmats, framed.inputs.Ks, **size)[0]
    assert torch.allclose(first.to_opengl_c2w()[0], torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1.5], [0, 0, 0, 1]]), atol=1e-5)
    for one, other in ((sample.inputs, framed.inputs), (sample.targets, framed.targets)):
        before, after = (m.viewmats @ torch.linalg.inv(sample_.viewmats[0]) for m, sample_ in ((one, one), (other, other)))
        assert torch.allclose(before, after, atol=1e-4)


def test_distortion_keeps_flat_images_and_the_border() -> None:
    flat = torch.full((32, 32, 4), 90, dtype=torch.uint8)
    assert same(distort_grid(flat, rng()), flat)
    ramp = torch.zeros(32, 32, 4, dtype=torch.uint8)
    ramp[..., 3], ramp[..., 0] = 255, (torch.arange(32) * 8)[None]
    moved = distort_grid(ramp, rng(), strength=0.9)
    assert (moved[..., 0].int().diff(dim=1) >= 0).all()  # never backwards
    assert not same(moved, ramp)
    assert (moved[..., 0].int() - ramp[..., 0].int()).abs().max() <= 8 * 32 / 8  # within a cell
    assert same(distort_grid(ramp, rng(), strength=0.0), ramp)


def test_jitter_keeps_the_distance_and_the_object_in_view() -> None:
    cameras = orbit([0.0, 90.0, 200.0], 10.0, 16)
    turned = jitter_cameras(cameras, rng(), 0.1)
    assert torch.allclose(turned.centers.norm(dim=-1), cameras.centers.norm(dim=-1), atol=1e-5)
    origin = turned.viewmats[:, :3, 3]
    assert torch.allclose(origin[:, :2], torch.zeros(3, 2), atol=1e-5)  # still looks at it
    angles = torch.rad2deg(torch.acos((turned.centers * cameras.centers).sum(-1) / 1.5**2))
    assert (angles < math.hypot(18, 9)).all()
    assert angles.max() > 1
    assert torch.allclose(jitter_cameras(cameras, rng(), 0.0).viewmats, cameras.viewmats, atol=1e-6)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (DrawLRM4D(), "24 renderings to draw 24 from|to draw"),
        (DrawL4GM(), "a sample takes 8, 4 and 4"),
        (DrawInterpolation(frames=9), "4 times; a sample takes 9"),
        (DrawInterpolation(views=12), "3 fixed and 3 random views"),
    ],
)
def test_clips_that_do_not_fit_are_named(draw: DrawL4GM, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw(small_clip(times=4, views=6) if not isinstance(draw, DrawLRM4D) else small_clip(times=2, views=6), rng())


def test_samples_of_different_sizes_do_not_stack() -> None:
    small = DrawLRM4D(4, 2, 2)
    samples = [small(small_clip(size=s), rng()) for s in (16, 24)]
    with pytest.raises(InputError, match="clips of different sizes \\(16x16, 24x24\\)"):
        Sample.stack(samples)
