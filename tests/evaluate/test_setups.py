"""Set-ups: exactly which views are inputs, and which are targets."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
import torch

from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import CANONICAL, orbit
from chronosplat.evaluate.setups import PAPER, SETUPS, random_inputs
from chronosplat.evaluate.studio import MeshStudio, Split, ViewSpec, split_of, subsample
from chronosplat.shapes import InputError
from tests.evaluate.kit import SIZE, mesh_studio

# name: inputs, distinct poses among them, moments among them
COUNTS = {
    "alternating": (24, 4, 24),
    "interpolation": (24, 4, 12),
    "rotating": (24, 24, 24),
    "random": (24, 24, 24),
    "video": (27, 4, 24),
}


def shots(name: str, times: int = 24) -> list[ViewSpec]:
    return SETUPS[name].inputs(mesh_studio(times), times)


@cache
def split(name: str) -> Split:
    return split_of(mesh_studio(), shots(name))


def random_shots() -> list[ViewSpec]:
    """The random views that are asked for at every moment."""
    return [mesh_studio().random_view(t, "targets") for t in range(24)]


def test_all_are_there() -> None:
    assert list(PAPER) == list(COUNTS)
    assert list(SETUPS) == [*COUNTS, "dense4", "dense8", "dnerf"]
    assert {(s.size, s.times, s.between) for s in PAPER.values()} == {(128, 24, 0)}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    inputs, poses, moments = COUNTS[name]
    chosen = shots(name)
    assert len(chosen) == len(set(chosen)) == inputs
    assert len({(shot.azimuth % 360, shot.elevation) for shot in chosen}) == poses
    assert len({shot.frame for shot in chosen}) == moments
    assert len(split(name).inputs) == inputs
    assert len(torch.unique(split(name).inputs.cameras.viewmats, dim=0)) == poses
    assert len(torch.unique(split(name).inputs.times)) == moments


def test_alternating_walks_around_the_object() -> None:
    assert shots("alternating") == [ViewSpec(CANONICAL[t % 4], 0.0, t) for t in range(24)]


def test_interpolation_leaves_every_other_moment_out() -> None:
    chosen = shots("interpolation")
    assert [shot.frame for shot in chosen] == [t for t in range(0, 24, 2) for _ in range(2)]
    assert [shot.azimuth for shot in chosen] == [0.0, 90.0, 180.0, 270.0] * 6
    assert {shot.elevation for shot in chosen} == {0.0}


def test_rotating_cameras_walk_in_steps_of_15_degrees_on_either_side() -> None:
    chosen = shots("rotating")
    assert [shot.frame for shot in chosen] == list(range(24))
    assert [shot.azimuth for shot in chosen[::2]] == [15.0 * i for i in range(12)]
    assert [shot.azimuth for shot in chosen[1::2]] == [360 - 15.0 * (i + 1) for i in range(12)]
    assert sorted(shot.azimuth for shot in chosen) == [15.0 * i for i in range(24)]


def test_random_takes_one_view_per_moment_from_anywhere() -> None:
    chosen = shots("random")
    assert [shot.frame for shot in chosen] == list(range(24))
    assert all(0 <= shot.azimuth < 360 and -5 <= shot.elevation <= 60 for shot in chosen)
    assert len({int(shot.azimuth // 90) for shot in chosen}) == 4
    assert not set(chosen) & set(random_shots())


def test_a_video_comes_with_the_other_sides_of_its_first_moment() -> None:
    chosen = shots("video")
    assert chosen[:24] == [ViewSpec(0.0, 0.0, t) for t in range(24)]
    assert chosen[24:] == [ViewSpec(a, 0.0, 0) for a in (90.0, 180.0, 270.0)]


@pytest.mark.parametrize("name", COUNTS)
def test_targets_are_four_canonical_and_a_random_view_per_moment_less_the_inputs(name: str) -> None:
    """Checked picture by picture, by cameras and seconds."""
    seconds = mesh_studio().seconds
    inputs = set(shots(name))
    canonical = [shot for t in range(24) for a in CANONICAL if (shot := ViewSpec(a, 0.0, t)) not in inputs]
    expected = [*canonical, *random_shots()]
    targets = split(name).targets
    assert len(targets) == len(expected)
    wanted = orbit([s.azimuth for s in expected], [s.elevation for s in expected], SIZE)
    torch.testing.assert_close(targets.cameras.viewmats, wanted.viewmats)
    assert targets.times.tolist() == [seconds[s.frame] for s in expected]
    assert split(name).canonical.tolist() == [True] * len(canonical) + [False] * 24
    taken = {"rotating": 4, "random": 0, "video": 27}.get(name, 24)  # a rotating camera passes the front, the sides and the back
    assert len(canonical) == 96 - taken


@pytest.mark.parametrize("name", COUNTS)
def test_inputs_and_targets_are_disjoint(name: str) -> None:
    def keys(part: str) -> Counter[tuple[float, ...]]:
        views = getattr(split(name), part)
        poses = views.cameras.viewmats.double().round(decimals=5).flatten(1).tolist()
        return Counter((*pose, t) for pose, t in zip(poses, views.times.tolist(), strict=True))

    inputs, targets = keys("inputs"), keys("targets")
    assert not inputs & targets
    assert max(inputs.values()) == max(targets.values()) == 1


def test_the_random_targets_are_the_same_in_all_setups() -> None:
    first = split("alternating")
    for name in COUNTS:
        other = split(name)
        ours, theirs = first.targets[~first.canonical], other.targets[~other.canonical]
        assert torch.equal(ours.images, theirs.images), name
        assert torch.equal(ours.cameras.viewmats, theirs.cameras.viewmats), name


def test_random_shots_depend_on_seed_name_purpose_and_moment_only() -> None:
    fresh = MeshStudio(procedural_object(3, "blob"), "blob", SIZE, 24, samples=1)
    backwards = [fresh.random_view(t, "targets") for t in reversed(range(24))][::-1]
    assert backwards == random_shots()
    other_size = MeshStudio(procedural_object(5, "blob"), "blob", 2 * SIZE, 24, samples=1)
    assert [other_size.random_view(t, "targets") for t in range(24)] == random_shots()
    renamed = MeshStudio(procedural_object(3, "blob"), "other", SIZE, 2, samples=1)
    found = [
        fresh.random_view(1, "targets"),
        fresh.random_view(0, "targets"),
        fresh.random_view(1, "inputs"),
        fresh.random_view(1, "targets", 1),
        renamed.random_view(1, "targets"),
        mesh_studio(24, 1).random_view(1, "targets"),
    ]
    assert len({(shot.azimuth, shot.elevation) for shot in found}) == len(found)


@pytest.mark.parametrize("count", range(1, 49))
def test_random_inputs_are_as_many_as_asked_and_spread_over_time(count: int) -> None:
    chosen = random_inputs(mesh_studio(), count)
    assert len(chosen) == len(set(chosen)) == count
    seen = Counter(shot.frame for shot in chosen)
    assert len(seen) == min(count, 24)
    assert max(seen.values()) - min(seen.values()) <= (1 if count > 1 else 0)
    if count > 1:
        assert {0, 23} <= set(seen)
    assert not set(chosen) & set(random_shots())


def test_random_inputs_with_few_moments() -> None:
    chosen = random_inputs(mesh_studio(8), 48)
    assert len(set(chosen)) == 48
    assert Counter(shot.frame for shot in chosen) == dict.fromkeys(range(8), 6)


def test_as_many_random_inputs_as_moments_are_the_random_setup() -> None:
    assert random_inputs(mesh_studio(), 24) == shots("random")


@pytest.mark.parametrize("count", [0, -3])
def test_no_random_inputs_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"^views: expected at least one input view, got {count}$"):
        random_inputs(mesh_studio(), count)


@pytest.mark.parametrize("name", COUNTS)
def test_fewer_moments_of_a_long_film_are_spread_evenly(name: str) -> None:
    chosen = SETUPS[name].inputs(mesh_studio(), 8)
    moments = sorted({shot.frame for shot in chosen})
    assert moments[0] == 0
    assert moments == subsample(range(24), 8)[:: 2 if name == "interpolation" else 1]


@pytest.mark.parametrize(("length", "count"), [(5, 5), (5, 9), (24, 8), (100, 24), (3, 1), (7, 2)])
def test_thinning_keeps_the_ends(length: int, count: int) -> None:
    found = subsample(range(length), count)
    assert len(found) == min(length, count)
    assert found == sorted(set(found))
    assert found[0] == 0
    assert found[-1] == (length - 1 if count > 1 else 0)
