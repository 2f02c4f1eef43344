"""Simulated cloth keeps its size, stays out of the ball and hangs from its pins."""

from __future__ import annotations

import numpy as np
import pytest

from chronosplat.assets.procedural import procedural_object
from chronosplat.assets.procedural.cloth import FLOOR, STEPS, N, simulate


def sheet(height: float) -> np.ndarray:
    """A level sheet of side 1 [N, N, 3], a little uneven."""
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, N), np.linspace(-0.5, 0.5, N), indexing="ij")
    return np.stack([u, np.full_like(u, height), v], -1) + np.random.default_rng(0).normal(scale=1e-3, size=(N, N, 3))


def test_threads_keep_their_length_and_points_stay_out_of_the_ball() -> None:
    center, radius, spacing = np.array([0.05, 0, 0]), 0.25, 1 / (N - 1)
    frames = simulate(sheet(0.3), spacing, lambda t: center, radius, np.zeros(3), ())
    lengths = np.linalg.norm(np.diff(frames, axis=1), axis=-1) / spacing
    assert np.percentile(lengths, 1) > 0.8
    assert np.percentile(lengths, 99) < 1.2
    assert np.linalg.norm(frames[1:] - center, axis=-1).min() > radius - 1e-9
    assert frames[..., 1].min() >= FLOOR - 1e-3
    assert frames[-1, :, :, 1].min() < 0.1 < frames[-1, N // 2, N // 2, 1]  # the corners hang, the middle lies on the ball


def test_a_sheet_falls_freely_until_it_touches_something() -> None:
    frames = simulate(sheet(0.0), 1 / (N - 1), lambda t: np.array([9.0, 9, 9]), 0.1, np.zeros(3), ())
    k = 12
    t = k / (len(frames) - 1)
    fall = float((frames[k] - frames[0])[..., 1].mean())
    assert fall == pytest.approx(-0.5 * 5.0 * t * (t + 1 / STEPS), rel=0.1)  # drag slows it a little


def test_pinned_corners_stay() -> None:
    start = sheet(0.0)
    frames = simulate(start, 1 / (N - 1), lambda t: np.array([9.0, 9, 9]), 0.1, np.array([1.0, 0, 0]), ((0, 0), (0, N - 1)))
    for pin in ((0, 0), (0, N - 1)):
        assert np.array_equal(frames[:, *pin], np.tile(start[pin], (len(frames), 1)))
    assert np.abs(frames[-1] - frames[0]).max() > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_objects_are_pure_in_the_seed_and_move_smoothly(seed: int) -> None:
    a, b = (procedural_object(seed, "cloth") for _ in range(2))
    poses = [a.vertices(t)[0] for t in np.linspace(0, 1, 25)]
    assert np.array_equal(poses[20], b.vertices(20 / 24)[0])
    assert np.isfinite(poses).all()
    steps = np.abs(np.diff(poses, axis=0)).max((1, 2))
    assert 0.001 < steps.max() < 0.2
    assert np.array_equal(a.vertices(1.0)[0], a.vertices(7.0)[0])
