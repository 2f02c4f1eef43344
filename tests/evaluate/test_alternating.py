"""The alternating canonical set-up: which pairs go in and which are asked for, and the nearest-input baseline."""

from __future__ import annotations

from functools import cache

import torch

from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import CANONICAL, orbit
from chronosplat.captures import Views
from chronosplat.evaluate.baselines import nearest_inputs
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.evaluate.studio import Split

SIZE = 16


@cache
def split() -> Split:
    return alternating_canonical(procedural_object(0), SIZE, samples=1)


def canonical_targets() -> Views:
    return split().targets[split().canonical]


def pairs(views: Views) -> list[tuple[int, float]]:
    """(canonical view, seconds) of each picture, the view found by its camera."""
    canonical = orbit(CANONICAL, 0.0, SIZE).viewmats
    distance = (views.cameras.viewmats[:, None] - canonical[None]).abs().amax((2, 3))
    assert float(distance.min(1).values.max()) < 1e-6
    return list(zip(distance.argmin(1).tolist(), views.times.tolist(), strict=True))


def test_counts() -> None:
    assert len(split().inputs) == 24
    assert len(split().targets) == len(split().canonical) == 96
    assert len(canonical_targets()) == 72


def test_inputs_and_canonical_targets_are_disjoint_and_complete() -> None:
    inputs, targets = set(pairs(split().inputs)), set(pairs(canonical_targets()))
    assert not inputs & targets
    assert len(inputs) == 24
    assert len(targets) == 72
    assert {view for view, _ in inputs | targets} == {0, 1, 2, 3}


def test_the_other_targets_are_random_views_one_per_moment() -> None:
    others = split().targets[~split().canonical]
    assert others.times.tolist() == split().inputs.times.tolist()
    distance = (others.cameras.viewmats[:, None] - orbit(CANONICAL, 0.0, SIZE).viewmats[None]).abs().amax((2, 3))
    assert float(distance.min()) > 1e-3
    assert len(torch.unique(others.cameras.viewmats, dim=0)) == 24


def test_inputs_cycle_through_the_views_as_time_goes_by() -> None:
    inputs = pairs(split().inputs)
    assert [view for view, _ in inputs] == [0, 1, 2, 3] * 6
    times = [t for _, t in inputs]
    assert times[0] == 0
    assert times[-1] == procedural_object(0).duration
    gaps = torch.tensor(times).diff()
    assert torch.allclose(gaps, gaps[:1].expand(23), atol=1e-6)


def test_each_moment_asks_for_the_three_other_views() -> None:
    seen = dict.fromkeys([t for _, t in pairs(split().inputs)], 0)
    for _, t in pairs(canonical_targets()):
        seen[t] += 1
    assert set(seen.values()) == {3}


def test_pictures_show_an_object() -> None:
    for part in (split().inputs, split().targets):
        covered = part.alphas.mean((1, 2, 3))
        assert float(covered.min()) > 0.005
        assert float(covered.max()) < 0.9


def test_nearest_input_is_the_same_camera_at_the_closest_time() -> None:
    inputs, targets = split().inputs, canonical_targets()
    found = nearest_inputs(inputs, targets)
    assert found.shape == (72, SIZE, SIZE, 3)
    known = pairs(inputs)
    for i, (view, t) in enumerate(pairs(targets)):
        gap = min(abs(s - t) for v, s in known if v == view)
        candidates = [k for k, (v, s) in enumerate(known) if v == view and abs(abs(s - t) - gap) < 1e-6]
        assert any(torch.equal(found[i], inputs.on_white()[k]) for k in candidates), (view, t)


def test_nearest_input_of_a_random_view_is_of_the_nearest_camera() -> None:
    inputs, targets = split().inputs, split().targets
    found = nearest_inputs(inputs, targets)
    distance = (inputs.cameras.viewmats[None] - targets.cameras.viewmats[:, None]).abs().amax((2, 3))
    for i in range(72, 96):
        nearest = torch.nonzero(distance[i] < distance[i].min() + 1e-6)[:, 0].tolist()
        assert any(torch.equal(found[i], inputs.on_white()[k]) for k in nearest), i
