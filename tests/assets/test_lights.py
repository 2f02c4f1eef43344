"""Light rigs: what they mean, and their random draws."""

from __future__ import annotations

import numpy as np
import pytest

from chronosplat.assets.lights import Lights, four_suns, random_rig, sphere, sun_and_sky
from chronosplat.assets.mesh import unit


def test_key_fill_and_bottom_are_those_of_l4gm() -> None:
    """Blender: rotations (45, 0, -45), (45, 0, 135) and (180, 0, 0) degrees; its z is our y."""
    lights = four_suns()
    np.testing.assert_allclose(lights.energies * np.pi, (4, 3, 4, 2), rtol=1e-6)
    for k, (x, z) in {0: (45, -45), 1: (45, 135), 3: (180, 0)}.items():
        a, b = np.deg2rad((x, z))
        blender = np.array([np.sin(a) * np.sin(b), -np.sin(a) * np.cos(b), np.cos(a)])  # Rz Rx (0, 0, 1), towards the sun
        np.testing.assert_allclose(lights.directions[k], (blender[0], blender[2], -blender[1]), atol=1e-4)


def test_the_sky_lights_surfaces_as_the_integral_of_its_radiance() -> None:
    lights = Lights(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), 0.1, (0.2, 0.5, 1.0), (0.4, 0.3, 0.0))
    around = sphere(20_000).astype(float)
    share = (1 + around[:, 1:2]) / 2
    radiance = 0.1 + share * lights.sky + (1 - share) * lights.ground
    for normal in unit(np.random.default_rng(0).normal(size=(5, 3))):
        cosine = np.maximum(around @ normal, 0)[:, None]
        np.testing.assert_allclose(lights.diffuse(normal[None])[0], (radiance * cosine).sum(0) / cosine.sum(), atol=1e-3)


def test_exposure_sets_the_brightest_surface() -> None:
    for lights in (four_suns(), sun_and_sky(), Lights(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), 0.0)):
        assert lights.exposed(0.8).diffuse(sphere(1000)).max() == pytest.approx(0.8, abs=0.02)
    black = Lights(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), 0.0)
    assert black.exposed() is black


def test_scaling_scales_everything() -> None:
    normals = sphere(50)
    np.testing.assert_allclose(sun_and_sky().scaled(0.3).diffuse(normals), 0.3 * sun_and_sky().diffuse(normals), atol=1e-6)


def test_energies_may_have_a_colour() -> None:
    grey = Lights(energies=np.array([1, 2, 3, 4], np.float32))
    np.testing.assert_allclose(grey.colors, np.array([1, 2, 3, 4])[:, None].repeat(3, 1))
    colored = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_allclose(Lights(energies=colored).colors, colored)


def test_the_sun_stands_where_it_should() -> None:
    np.testing.assert_allclose(sun_and_sky(90, 0).directions, [(1, 0, 0)], atol=1e-6)
    np.testing.assert_allclose(sun_and_sky(0, 30).directions, [(0, 0.5, np.sqrt(0.75))], atol=1e-6)


def test_random_rigs_are_reproducible_varied_and_well_exposed() -> None:
    rigs = [random_rig(np.random.default_rng(k)) for k in range(60)]
    for rig, again in zip(rigs, (random_rig(np.random.default_rng(k)) for k in range(60)), strict=True):
        assert np.array_equal(rig.directions, again.directions)
        assert np.array_equal(rig.energies, again.energies)
        np.testing.assert_allclose(np.linalg.norm(rig.directions, axis=1), 1, atol=1e-5)
        assert np.asarray(rig.energies).min() >= 0
    free = [rig for rig in rigs if not np.array_equal(rig.directions, four_suns().directions)]
    assert 10 < len(rigs) - len(free) < 28
    peaks = [rig.diffuse(sphere(500)).max() for rig in free]
    assert min(peaks) > 0.75
    assert max(peaks) < 1.1
    assert {len(rig.directions) for rig in free} == {1, 2, 3, 4}
