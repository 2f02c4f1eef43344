"""The native rasteriser against its slow twin, on random scenes with every kind of material, and its laws of exactness."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chronosplat.assets.lights import Lights, sun_and_sky
from chronosplat.assets.mesh import Material, Surface, Texture, Wrap, unit, vertex_normals
from chronosplat.assets.prepared import PreparedSurface
from chronosplat.assets.raster import MeshImages, Shading, rasterize_geometry
from chronosplat.cameras import Cameras, orbit
from chronosplat.render.cpu import isa_level
from tests.assets import raster_twin

PIXELS = 20
LIGHTS = {"suns": Lights().scaled(0.4), "sky": sun_and_sky()}


def random_surface(rng: np.random.Generator, triangles: int, alpha_modes: tuple[int, ...]) -> tuple[Surface, np.ndarray, np.ndarray]:
    """Triangles of a few materials with five textures each, and two sets of texture coordinates."""
    positions = (
        (rng.uniform(-0.5, 0.5, (triangles, 1, 3)) + rng.normal(scale=0.25, size=(triangles, 3, 3))).reshape(-1, 3).astype(np.float32)
    )
    faces = np.arange(3 * triangles, dtype=np.int32).reshape(-1, 3)
    normals = unit(vertex_normals(positions, faces) + rng.normal(scale=0.15, size=positions.shape))
    textures = tuple(
        Texture(
            rng.integers(0, 256, (*rng.integers(1, 9, 2), 4)).astype(np.uint8),
            srgb=kind < 2,
            wrap=(Wrap(int(rng.integers(3))), Wrap(int(rng.integers(3)))),
        )
        for kind in range(5)
    )
    pixels = textures[3].pixels.copy()
    pixels[..., 2] = rng.integers(200, 256, pixels.shape[:2])
    textures = (*textures[:3], Texture(pixels, srgb=False), textures[4])
    materials = tuple(
        Material(
            base=(*rng.uniform(0.3, 1, 3), 0.7), emissive=(*rng.uniform(0, 0.2, 3),), texture=0, emissive_texture=1, alpha_mode=mode,
            cutoff=0.4, two_sided=bool(k % 2), metallic=float(rng.uniform()), roughness=float(rng.uniform(0.3, 1)), surface_texture=2,
            normal_texture=3, normal_scale=0.7, occlusion_texture=4, occlusion=0.8, uv_sets=(0, 1, 1, 0, 1),
        )
        for k, mode in enumerate(alpha_modes)
    )  # fmt: skip
    surface = Surface(
        faces=faces, face_materials=rng.integers(0, len(materials), triangles).astype(np.int32),
        uvs=rng.uniform(-1.5, 2.5, (len(positions), 4)).astype(np.float32),
        colors=np.concatenate([rng.uniform(0.5, 1, (len(positions), 3)), rng.uniform(0.4, 1, (len(positions), 1))], 1).astype(np.float32),
        materials=materials, textures=textures, face_parts=rng.integers(0, 3, triangles).astype(np.int32),
    )  # fmt: skip
    return surface, positions, normals


def native(surface: Surface, positions: np.ndarray, normals: np.ndarray, cameras: Cameras, lights: Lights, samples: int) -> MeshImages:
    return rasterize_geometry(PreparedSurface(surface), positions, normals, cameras, lights=lights, samples=samples, shading="pbr")


@pytest.mark.parametrize("lights", list(LIGHTS))
@pytest.mark.parametrize(("modes", "samples"), [((0,), 1), ((0, 0, 1), 2), ((2,), 2), ((0, 1, 2, 2), 3)])
def test_images_equal_those_of_the_twin(modes: tuple[int, ...], samples: int, lights: str) -> None:
    rng = np.random.default_rng((len(modes), samples))
    surface, positions, normals = random_surface(rng, 30, modes)
    cameras = orbit([float(rng.uniform(0, 360))], float(rng.uniform(-40, 60)), PIXELS)
    found = native(surface, positions, normals, cameras, LIGHTS[lights], samples)
    scene = raster_twin.Scene(surface, positions.astype(float), normals.astype(float), cameras, LIGHTS[lights], samples)
    expected = raster_twin.render(scene)
    assert (expected.rgba[..., 3] > 0).mean() > 0.2
    assert np.abs(found.rgba[0] / 255.0 - expected.rgba).max() <= 0.6 / 255
    np.testing.assert_allclose(found.depth[0], expected.depth, atol=1e-5)
    np.testing.assert_allclose(found.normals[0], expected.normals, atol=3e-5)
    assert np.array_equal(found.parts[0], expected.parts)


def test_faces_across_the_near_plane_are_clipped() -> None:
    """The camera stands on a large floor, half of which is behind it."""
    floor = np.array([(-9, -0.4, 9), (9, -0.4, 9), (9, -0.4, -9), (-9, -0.4, -9)], np.float32)
    faces = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    checks = Texture(np.kron([[0, 1], [1, 0]], np.full((4, 4), 255))[..., None].repeat(4, -1).astype(np.uint8))
    uvs = (np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * 12).astype(np.float32)
    material = Material(texture=0, roughness=0.4)
    surface = Surface(faces, np.zeros(2, np.int32), uvs, np.ones((4, 4), np.float32), (material,), (checks,))
    cameras, normals, lights = orbit([0.0], 8.0, PIXELS), vertex_normals(floor, faces), LIGHTS["sky"]
    found = native(surface, floor, normals, cameras, lights, 2)
    expected = raster_twin.render(raster_twin.Scene(surface, floor.astype(float), normals.astype(float), cameras, lights, 2))
    assert (found.rgba[0, PIXELS // 2 + 2 :, :, 3] == 255).all()
    assert not found.rgba[0, : PIXELS // 4].any()
    assert np.abs(found.rgba[0] / 255.0 - expected.rgba).max() <= 1.5 / 255
    np.testing.assert_allclose(found.depth[0], expected.depth, rtol=1e-3)


def scene_for_bytes(shading: Shading, threads: int = 1) -> dict[str, np.ndarray]:
    """All images of a random scene, from three cameras."""
    surface, positions, normals = random_surface(np.random.default_rng(5), 60, (0, 1, 2, 2))
    cameras = orbit([0, 100, 200], 20, 61)
    images = rasterize_geometry(
        PreparedSurface(surface), positions, normals, cameras, positions, LIGHTS["sky"], samples=4, threads=threads, shading=shading
    )  # fmt: skip
    return {"rgba": images.rgba, "depth": images.depth, "motion": images.motion, "normals": images.normals, "parts": images.parts}


@pytest.mark.parametrize("shading", ["lambert", "pbr"])
def test_any_number_of_threads_gives_the_same_bytes(shading: Shading) -> None:
    one = scene_for_bytes(shading)
    assert (one["rgba"][..., 3] > 0).mean() > 0.2
    for threads in (2, 3, 7, 64):
        other = scene_for_bytes(shading, threads)
        assert all(np.array_equal(one[name], other[name]) for name in one)


SCRIPT = """
import sys, numpy
from tests.assets.test_raster_twin import scene_for_bytes
numpy.savez(sys.argv[1], **{f"{s} {k}": v for s in ("lambert", "pbr") for k, v in scene_for_bytes(s).items()})
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="one build only on this processor")
@pytest.mark.parametrize("level", [2, 3])
def test_every_instruction_set_gives_the_same_bytes(level: int, tmp_path: Path) -> None:
    if isa_level() < level:
        pytest.skip(f"this processor has level {isa_level()} only")
    path = tmp_path / "out.npz"
    subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env={**os.environ, "CHRONOSPLAT_ISA": str(level)})
    found = np.load(path)
    for shading in ("lambert", "pbr"):
        for name, expected in scene_for_bytes(shading).items():
            assert np.array_equal(found[f"{shading} {name}"], expected), f"{shading} {name}"
