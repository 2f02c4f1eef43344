"""No values or sizes crash the native mesh rasteriser, as long as arrays are as long as the sizes declare."""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chronosplat.assets.lights import Lights
from chronosplat.assets.mesh import Material, Surface, Texture
from chronosplat.assets.prepared import PreparedSurface
from chronosplat.assets.raster import rasterize_mesh
from chronosplat.shapes import InputError
from tests.assets.mesh_api_kit import COUNTS, FLOATS, MATERIAL_FLOATS, OUTPUTS, SIZES, MeshCase, texels_of
from tests.assets.raster_kit import FACES, at_pixels, box, facing_camera
from tests.render.native_kit import (
    BAD_ARGUMENT,
    NEVER_FINITE,
    NO_MEMORY,
    NOT_FINITE,
    OK,
    TOO_MANY,
    Fenced,
    announce,
    bits,
    run_apart,
    used_memory,
)

many = settings(derandomize=True, deadline=None, max_examples=400, database=None, suppress_health_check=list(HealthCheck))
LEAST, MOST, MOST64 = -(2**31), 2**31 - 1, 2**63 - 1
ROWS = {name: ("vertices", n) for name, n in (("positions", 3), ("normals", 3), ("uvs", 2), ("colors", 4), ("velocities", 3))} | {
    "light_directions": ("lights", 3), "light_colors": ("lights", 3), "viewmats": ("views", 16), "Ks": ("views", 9),
    "indices": ("faces", 3), "face_materials": ("faces", 1), "face_parts": ("faces", 1), "material": ("materials", 1),
    "texture": ("textures", 1),
}  # fmt: skip
OPTIONAL = ("velocities", "motion", "depth", "surface_normals", "parts", "face_parts")
MATERIAL_INTEGERS = ("material textures", "material uv_sets", "alpha_mode", "two_sided", "unlit")
TEXTURE_INTEGERS = ("levels", "wrap_u", "wrap_v", "srgb", "nearest")
OTHER_TABLES = {"texels": "textures", "rgba": "views"}  # null is allowed where these counts are zero
INTEGERS = [LEAST, -2, -1, 0, 1, 2, 3, 29, 30, MOST]

faults = st.one_of(
    st.tuples(st.sampled_from(COUNTS), st.sampled_from([0, 1, -1, LEAST, 2**28, MOST])),
    st.tuples(st.sampled_from(SIZES), st.sampled_from([0, 1, -1, LEAST, MOST])),
    st.tuples(st.sampled_from(("width", "height")), st.just(2**20 + 1)),
    st.tuples(st.just("samples"), st.sampled_from([3, 64, 65, 2**16])),
    st.tuples(st.just("texel_count"), st.sampled_from([0, 1, -1, -MOST64 - 1, 2**60, MOST64])),
    st.tuples(st.just("uv_sets"), st.sampled_from([9, 2**16])),
    st.tuples(st.just("shading"), st.sampled_from([0, 1, 2, -1, LEAST, MOST])),
    st.tuples(st.sampled_from(("sky", "ground", "near_plane")), st.sampled_from([*NEVER_FINITE, -1.0, 0.0, 1e-45, 3e38])),
    st.tuples(st.just("null"), st.sampled_from((*ROWS, *OTHER_TABLES, *OUTPUTS))),
    st.tuples(st.sampled_from(FLOATS), st.sampled_from(NEVER_FINITE)),
    st.tuples(st.sampled_from(("indices", "face_materials", "face_parts")), st.sampled_from(INTEGERS)),
    st.tuples(st.sampled_from(MATERIAL_INTEGERS), st.sampled_from(INTEGERS)),
    st.tuples(st.sampled_from(TEXTURE_INTEGERS), st.sampled_from([*INTEGERS, 21, 22])),
    st.tuples(st.sampled_from(MATERIAL_FLOATS), st.sampled_from([*NEVER_FINITE, -3e38, 3e38])),
    st.tuples(st.just("offset"), st.sampled_from([-MOST64 - 1, -1, 0, 1, 10, 2**60, MOST64])),
    st.tuples(st.sampled_from(("texture width", "texture height")), st.sampled_from([*INTEGERS, 2**20, 2**20 + 1])),
    st.tuples(st.just("focal"), st.sampled_from([0.0, -1.0, -3e38])),
)


def spoil(case: MeshCase, fault: tuple[str, Any], place: int) -> None:
    """Apply one fault."""
    name, value = fault
    table = "material" if name in (*MATERIAL_INTEGERS, *MATERIAL_FLOATS) else name
    table = "texture" if name in ("offset", "texture width", "texture height", *TEXTURE_INTEGERS) else table
    if name == "null":
        case.arrays.pop(value, None)
    elif name in case.numbers:
        case.numbers[name] = value
    elif name == "focal" and "Ks" in case.arrays:
        case.view("Ks")[9 * (place % 2) + 4 * (place // 2 % 2)] = value
    elif table in case.arrays:
        array = case.view(table)
        column = array if table == name else array[name.removeprefix("texture ").removeprefix("material ")]
        column[place % len(array)] = value


def rows(case: MeshCase, name: str) -> NDArray:
    """The part of an array that the counts let the library read."""
    count, width = ROWS[name]
    width *= int(case.numbers["uv_sets"]) if name == "uvs" else 1
    return case.view(name)[: width * int(case.numbers[count])]


def expected(case: MeshCase) -> set[int]:
    """The statuses that native/mesh.h allows for a case; which of several faults is named is free."""
    n, found = case.numbers, set()
    if any(n[name] < 0 for name in (*COUNTS, "texel_count")) or any(n[name] < 1 for name in SIZES):
        found.add(BAD_ARGUMENT)
    if max(n["width"], n["height"]) > 2**20 or n["samples"] > 64 or n["near_plane"] <= 0 or n["uv_sets"] > 8 or n["shading"] not in (0, 1):
        found.add(BAD_ARGUMENT)
    if max(n[name] for name in COUNTS) >= 2**28 or n["width"] * n["height"] * n["samples"] ** 2 >= 2**31:
        found.add(TOO_MANY)
    if not np.isfinite([n["sky"], n["ground"], n["near_plane"]]).all():
        found.add(NOT_FINITE)
    for name, count in {**{name: count for name, (count, _) in ROWS.items()}, **OTHER_TABLES}.items():
        if name not in case.arrays and name not in OPTIONAL and n[count]:
            found.add(BAD_ARGUMENT)
    if "motion" in case.arrays and "velocities" not in case.arrays:
        found.add(BAD_ARGUMENT)
    return found or expected_of_values(case) or {OK}


def expected_of_values(case: MeshCase) -> set[int]:
    """The statuses that the values of the arrays allow, where the sizes are right."""
    found = set()
    read = {name: rows(case, name) for name in ROWS if name in case.arrays}
    if not all(np.isfinite(read[name]).all() for name in FLOATS if name in read):
        found.add(NOT_FINITE)
    for name, count in (("indices", "vertices"), ("face_materials", "materials")):
        if name in read and bool(((read[name] < 0) | (read[name] >= case.numbers[count])).any()):
            found.add(BAD_ARGUMENT)
    if "Ks" in read and bool((read["Ks"].reshape(-1, 9)[:, [0, 4]] <= 0).any()):
        found.add(BAD_ARGUMENT)
    if "material" in read:
        material = read["material"]
        if not all(np.isfinite(material[name]).all() for name in MATERIAL_FLOATS):
            found.add(NOT_FINITE)
        limits = (("textures", -1, case.numbers["textures"]), ("uv_sets", 0, case.numbers["uv_sets"]), ("alpha_mode", 0, 3))
        if any(bool(((material[name] < low) | (material[name] >= high)).any()) for name, low, high in limits):
            found.add(BAD_ARGUMENT)
    if any(not is_texture(t, int(case.numbers["texel_count"])) for t in read.get("texture", [])):
        found.add(BAD_ARGUMENT)
    return found


def is_texture(texture: NDArray, texels: int) -> bool:
    """Whether a texture lies within so many texels, and has no levels below 1x1."""
    width, height, levels = (int(texture[name]) for name in ("width", "height", "levels"))
    if min(width, height) < 1 or max(width, height) > 2**20 or not 1 <= levels <= max(width, height).bit_length():
        return False
    wraps = all(0 <= int(texture[name]) < 3 for name in ("wrap_u", "wrap_v"))
    return wraps and 0 <= int(texture["offset"]) <= texels - texels_of(texture)


@many
@given(
    seed=st.integers(0, 1000),
    behind=st.booleans(),
    motion=st.booleans(),
    some=st.lists(faults, max_size=3),
    place=st.integers(0, 10_000),
    threads=st.sampled_from([LEAST, -1, 0, 1, 2, 7, MOST]),
)
def garbage_in_every_field(seed: int, behind: bool, motion: bool, some: list[tuple[str, Any]], place: int, threads: int) -> None:
    announce((seed, behind, motion, some, place, threads))
    case = MeshCase.make(seed, behind, motion)
    assert case.render() == OK
    longer = case.numbers["texel_count"]
    for fault in some:
        spoil(case, fault, place)
    allowed = expected(case)
    if allowed == {OK} and case.numbers["texel_count"] > longer and reaches_past(case, int(longer)):
        return  # the texels are not as long as the size says
    assert case.render(threads) in allowed


def reaches_past(case: MeshCase, texels: int) -> bool:
    """Whether a texture uses more texels than there are."""
    return any(int(t["offset"]) + texels_of(t) > texels for t in rows(case, "texture"))


@many
@given(
    seed=st.integers(0, 2**32),
    wild=st.sets(st.sampled_from((*FLOATS, *MATERIAL_FLOATS, "sky", "ground", "near_plane"))),
    finite=st.booleans(),
    samples=st.integers(1, 4),
)
def any_numbers(seed: int, wild: set[str], finite: bool, samples: int) -> None:
    """Any bits in any floating-point field."""
    announce((seed, sorted(wild), finite, samples))
    g = np.random.default_rng(seed)
    case = MeshCase.make(seed, bool(seed % 2), samples=samples)
    for name in sorted(wild):
        values = np.zeros(1, np.float32) if name in case.numbers else case.view(name if name in case.arrays else "material")
        values = values if name in (*case.arrays, *case.numbers) else values[name]
        random = np.zeros(values.size, np.float32)
        bits(g, random, finite)
        if name == "Ks":
            random.reshape(-1, 9)[:, [0, 4]] = np.abs(random.reshape(-1, 9)[:, [0, 4]]) + np.float32(1e-45)
        values[...] = random.reshape(values.shape)
        if name in case.numbers:
            case.numbers[name] = float(abs(values[0]))
    allowed = expected(case)
    status = case.render()
    assert status in allowed
    if status == OK:
        rgba = case.view("rgba").reshape(-1, 4)
        assert not rgba[rgba[:, 3] == 0].any()
        assert not np.isnan(case.view("depth")).any()
        assert not np.isnan(case.view("surface_normals")).any()


def any_call() -> None:
    garbage_in_every_field()
    any_numbers()


def test_any_call_returns_a_documented_status() -> None:
    run_apart("any_call", "test_mesh_api", room="assets")


def square(uvs: float = 0, texture: int = 0, size: tuple[int, int] = (999, 1023)) -> Surface:
    """A textured square."""
    material = Material(unlit=True, texture=texture)
    full = lambda value, width=4: np.full((4, width), value, np.float32)
    white = Texture(np.full((*size, 4), 255, np.uint8))
    return Surface(FACES, np.zeros(2, np.int32), full(uvs, 2), full(1), (material,), (white,))


def rendered(
    surface: Surface, samples: int = 1, lights: Lights | None = None, normal: float = 1, shading: Any = "lambert"
) -> NDArray[np.uint8]:
    """The image [H, W, 4] of four vertices."""
    positions = at_pixels(box(4, 4, 8, 8))
    return rasterize_mesh(
        PreparedSurface(surface), positions, np.full_like(positions, normal), facing_camera(), lights, samples, shading=shading
    )[0]


def refused(*arguments: Any, **named: Any) -> str:
    with pytest.raises(InputError) as caught:
        rendered(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def infinite_texture_coordinates() -> None:
    """A texture whose width is no power of two: the index of an infinite coordinate lies far outside of it."""
    for value in NEVER_FINITE:
        announce(value)
        assert refused(square(value)) == "uvs: 8 of 8 values are NaN or infinite; replace them with finite numbers"


def test_infinite_texture_coordinates_are_refused() -> None:
    run_apart("infinite_texture_coordinates", "test_mesh_api", room="assets")


@pytest.mark.parametrize("value", [1e30, -1e30, 3.4e38, -3.4e38, 1e-45, -1e-45, -1e-9])
def test_large_texture_coordinates_are_rendered(value: float) -> None:
    assert (rendered(square(value))[4:8, 4:8] == 255).all()


def overflowing_interpolation() -> None:
    """Finite scenes whose interpolated texture coordinates are infinite (rounding) or NaN (depths that are denormal)."""
    for scale, value in ((1.0, np.finfo(np.float32).max), (1e-40, 1.0)):
        announce((scale, value))
        case = MeshCase.make(fence_behind=False, textures=1, samples=16)
        case.numbers["near_plane"] = 1e-45
        case.view("viewmats")[:] *= np.float32(scale)
        case.view("uvs")[:] = value
        case.view("material")["textures"] = 0
        for name, number in (("width", 5), ("height", 1), ("levels", 3), ("offset", 0)):
            case.view("texture")[name] = number
        case.arrays["texels"], case.numbers["texel_count"] = Fenced.holding(np.full(32, 255, np.uint8), fence_behind=False), 8
        assert case.render() == OK
        assert case.view("rgba").any() or scale != 1


def test_overflowing_interpolation_is_rendered() -> None:
    run_apart("overflowing_interpolation", "test_mesh_api", room="assets")


WRONG: dict[str, tuple[Surface, str]] = {
    "face": (replace(square(), faces=FACES + 1), "faces: got 1 to 4; use 0 to 3"),
    "material index": (replace(square(), face_materials=np.array([0, 7], np.int32)), "face_materials: got 0 to 7; use 0 to 0"),
    "texture index": (square(texture=2), "materials[0]: textures: got -1 to 2; use -1 to 0"),
    "alpha mode": (replace(square(), materials=(Material(alpha_mode=3),)), "materials[0]: alpha_mode: got 3 to 3; use 0 to 2"),
    "empty texture": (square(size=(0, 5)), "textures[0]: 5x0 pixels are empty; give at least one"),
    "cutoff": (replace(square(), materials=(Material(cutoff=float("nan")),)), "materials[0]: 1 of 15 values are NaN or infinite"),
    "texel": (replace(square(), textures=(Texture(np.ones((2, 2, 4))),)), "textures[0]: expected uint8, got float64; scale colours"),
    "texture shape": (
        replace(square(), textures=(Texture(np.ones((2, 2, 3), np.uint8)),)),
        "textures[0]: expected shape [2, 2, 4], got [2, 2, 3]",
    ),
    "wrap": (replace(square(), textures=(replace(square().textures[0], wrap=(0, 5)),)), "textures[0]: wrap: got 0 to 5; use 0 to 2"),
    "uvs": (replace(square(), uvs=np.zeros((3, 4), np.float32)), "uvs: expected shape [4, 4], got [3, 4]"),
    "odd uvs": (replace(square(), uvs=np.zeros((4, 3), np.float32)), "uvs: expected shape [4, 2], got [4, 3]"),
    "many uvs": (replace(square(), uvs=np.zeros((4, 18), np.float32)), "uvs: sets: got 9 to 9; use 1 to 8"),
    "uv set": (replace(square(), materials=(Material(uv_sets=(0, 1, 0, 0, 0)),)), "materials[0]: uv_sets: got 0 to 1; use 0 to 0"),
    "roughness": (replace(square(), materials=(Material(roughness=float("inf")),)), "materials[0]: 1 of 15 values are NaN or infinite"),
    "face_parts": (replace(square(), face_parts=np.zeros(3, np.int32)), "face_parts: expected shape [2], got [3]"),
    "face_materials": (replace(square(), face_materials=np.zeros(1, np.int32)), "face_materials: expected shape [2], got [1]"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_surfaces_are_named(name: str) -> None:
    surface, message = WRONG[name]
    assert refused(surface).startswith(message)


def test_wrong_options_are_named() -> None:
    assert refused(square(), samples=0) == "samples: got 0 to 0; use 1 to 64"
    assert refused(square(), samples=65) == "samples: got 65 to 65; use 1 to 64"
    assert refused(square(), normal=float("nan")).startswith("normals: 12 of 12 values are NaN or infinite; ")
    assert refused(square(), lights=replace(Lights(), ambient=float("inf"))).startswith("lights.ambient: 1 of 1 values")
    assert refused(square(), lights=replace(Lights(), sky=(0.0, float("nan"), 0.0))).startswith("lights.sky: 1 of 3 values")
    assert refused(square(), lights=replace(Lights(), energies=np.ones((4, 2)))).startswith("lights.energies: expected shape [L] or [L, 3]")
    assert refused(square(), shading="toon") == "shading: got 'toon'; use lambert or pbr"
    assert refused(square(), lights=replace(Lights(), energies=np.ones(2, np.float32))).startswith(
        "lights.directions: expected shape [2, 3]"
    )


def test_too_many_samples_are_refused() -> None:
    wide = replace(facing_camera(), width=2**20)
    surface, positions = PreparedSurface(square()), at_pixels(box(4, 4, 8, 8))
    with pytest.raises(
        InputError, match=r"rasterize: 1048576x16 pixels with 16x16 samples each and 2 faces are too many; use a smaller image"
    ):
        rasterize_mesh(surface, positions, positions, wide, samples=16)


def little_memory() -> None:
    """32 MiB of samples in a row of pixels where 16 MiB are left."""
    wide, surface, positions = replace(facing_camera(), width=1024), PreparedSurface(square()), at_pixels(box(4, 4, 8, 8))
    case = MeshCase.make(width=1024, height=16, samples=64)
    resource.setrlimit(resource.RLIMIT_AS, (used_memory() + 2**24, -1))
    assert case.render() == case.render(threads=2) == NO_MEMORY
    with pytest.raises(InputError, match=r"rasterize: out of memory at 1024x16 pixels with 64x64 samples each; use a smaller image"):
        rasterize_mesh(surface, positions, positions, wide, samples=64)
    case.numbers["samples"] = 2
    assert case.render() == OK


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_scarce_memory() -> None:
    run_apart("little_memory", "test_mesh_api", room="assets")
