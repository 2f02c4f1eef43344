"""Procedural objects: reproducible, well-formed, moving and looping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronosplat.assets.procedural import FAMILIES, procedural_object
from chronosplat.assets.procedural.parts import capsule, icosphere, noise, paint, rotation

NAMES = [make.__name__ for make in FAMILIES]
SEEDS = range(4)


def test_shares_add_up_to_one() -> None:
    assert sum(FAMILIES.values()) == pytest.approx(1)
    assert len(set(NAMES)) == len(NAMES)


def test_families_are_sampled_by_their_probabilities() -> None:
    names = [procedural_object(seed).name for seed in range(60)]
    assert 0.25 < names.count("creature") / 60 < 0.55
    assert len(set(names)) >= 6


def test_unknown_family_is_an_error() -> None:
    with pytest.raises(KeyError):
        procedural_object(0, "unicorn")


@pytest.mark.parametrize("family", NAMES)
def test_same_seed_same_object(family: str) -> None:
    one, two = procedural_object(7, family), procedural_object(7, family)
    assert np.array_equal(one.surface.faces, two.surface.faces)
    assert np.array_equal(one.surface.colors, two.surface.colors)
    for t in (0.0, 0.4):
        assert np.array_equal(one.vertices(t)[0], two.vertices(t)[0])


@pytest.mark.parametrize("family", NAMES)
def test_posing_has_no_side_effects(family: str) -> None:
    mesh = procedural_object(1, family)
    first = mesh.vertices(0.1)[0].copy()
    mesh.vertices(0.8)
    assert np.array_equal(mesh.vertices(0.1)[0], first)


@pytest.mark.parametrize("family", NAMES)
def test_different_seeds_differ(family: str) -> None:
    meshes = [procedural_object(seed, family) for seed in SEEDS]
    for i, one in enumerate(meshes):
        for two in meshes[:i]:
            a, b = one.vertices(0.0)[0], two.vertices(0.0)[0]
            assert a.shape != b.shape or not np.allclose(a, b)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", NAMES)
def test_well_formed(family: str, seed: int) -> None:
    mesh = procedural_object(seed, family)
    surface, count = mesh.surface, len(mesh.surface.colors)
    assert mesh.duration == 1.0
    assert surface.faces.shape[1] == 3
    assert surface.faces.dtype == np.int32
    assert 0 <= surface.faces.min() <= surface.faces.max() < count
    assert np.array_equal(np.unique(surface.faces), np.arange(count))  # no vertex is left over
    assert surface.face_materials.shape == (len(surface.faces),)
    assert surface.uvs.shape == (count, 4)
    assert surface.colors.min() >= 0
    assert surface.colors.max() <= 1
    assert (surface.colors[:, 3] == 1).all()
    assert surface.materials[0].two_sided
    for t in (0.0, 0.37, 1.0):
        positions, normals = mesh.vertices(t)
        assert positions.shape == normals.shape == (count, 3)
        assert positions.dtype == normals.dtype == np.float32
        assert np.isfinite(positions).all()
        assert 0.3 < np.ptp(positions, 0).max() < 5  # about unit size
        lengths = np.linalg.norm(normals, axis=1)
        assert (np.abs(lengths - 1) < 1e-4).mean() > 0.99
        assert np.isfinite(normals).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", NAMES)
def test_moves(family: str, seed: int) -> None:
    mesh = procedural_object(seed, family)
    rest = mesh.vertices(0.0)[0]
    size = float(np.ptp(rest, 0).max())
    moved = max(float(np.linalg.norm(mesh.vertices(t)[0] - rest, axis=1).max()) for t in (0.13, 0.3, 0.55))
    assert moved > 0.05 * size


@pytest.mark.parametrize("family", ["creature", "vehicle", "blob", "wings", "flag"])
def test_loops(family: str) -> None:
    gaps = []
    for seed in range(6):
        mesh = procedural_object(seed, family)
        gaps.append(float(np.abs(mesh.vertices(1.0)[0] - mesh.vertices(0.0)[0]).max()))
    assert max(gaps) < 1e-9, f"largest gap between the last and the first time, by seed: {np.round(gaps, 3)}"


@pytest.mark.parametrize("family", NAMES)
def test_motion_is_continuous(family: str) -> None:
    mesh = procedural_object(2, family)
    for t in (0.0, 0.31, 0.77):
        step = np.linalg.norm(mesh.vertices(t + 1e-3)[0] - mesh.vertices(t)[0], axis=1).max()
        assert step < 0.05


# parts


def test_icosphere_is_a_closed_unit_sphere() -> None:
    points, faces = icosphere(2)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-12)
    assert (len(points), len(faces)) == (162, 320)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = (points[faces[:, k]] for k in range(3))
    outward = (np.cross(b - a, c - a) * (a + b + c)).sum(1)
    assert (outward > 0).all()


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.01), st.floats(-7, 7))
def test_rotation_is_a_rotation_about_its_axis(axis: tuple[float, float, float], angle: float) -> None:
    turn = rotation(np.array(axis), angle)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(turn @ axis, axis, atol=1e-9)
    assert np.trace(turn) == pytest.approx(1 + 2 * np.cos(angle), abs=1e-9)


def test_rotation_is_right_handed() -> None:
    np.testing.assert_allclose(rotation(np.array([0, 0, 1.0]), np.pi / 2) @ [1, 0, 0], (0, 1, 0), atol=1e-12)


def test_capsule_reaches_from_end_to_end() -> None:
    points, faces = capsule(np.array([1.0, 0, 0]), np.array([1.0, 2, 0]), 0.2, 0.1)
    assert points[:, 1].min() == pytest.approx(-0.12, abs=1e-6)
    assert points[:, 1].max() == pytest.approx(2.06, abs=1e-6)
    assert np.hypot(points[:, 0] - 1, points[:, 2]).max() <= 0.2
    assert faces.max() == len(points) - 1


def test_noise_is_smooth_and_bounded() -> None:
    points = np.random.default_rng(0).uniform(-20, 20, (500, 3))
    values = noise(points)
    assert values.min() >= 0
    assert values.max() <= 1
    assert values.std() > 0.05
    assert np.abs(noise(points + 1e-4) - values).max() < 2e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_paint_stays_in_range(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colors = paint(rng.uniform(-0.5, 0.5, (50, 3)), rng)
    assert colors.shape == (50, 3)
    assert colors.min() >= 0
    assert colors.max() <= 1
