"""Animation channels at, between, before and after their keys, and node hierarchies."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from chronosplat.assets.animation import Channel, Skeleton, compose, read_channels, slerp
from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.repairs import Repairs
from tests.assets.gltf_maker import GltfMaker

Array = NDArray[np.floating]

numbers = st.floats(-1, 1, allow_nan=False)
quaternions = st.tuples(numbers, numbers, numbers, numbers).map(lambda q: np.array(q))


def channel(path: str, keys: ArrayLike, values: ArrayLike, interpolation: str) -> Channel:
    """A channel of node 0."""
    return Channel(0, path, np.asarray(keys, float), np.asarray(values, float), interpolation)


def about(axis: tuple[float, float, float], degrees: float) -> Array:
    """The xyzw quaternion of a turn."""
    half = math.radians(degrees) / 2
    return np.array([*(math.sin(half) * np.array(axis)), math.cos(half)])


def matrix(quaternion: Array) -> Array:
    """[3, 3] of one xyzw quaternion."""
    return compose(np.zeros((1, 3)), quaternion[None], np.ones((1, 3)))[0, :3, :3]


# channels


@pytest.mark.parametrize("interpolation", ["LINEAR", "STEP"])
def test_at_keys_and_outside(interpolation: str) -> None:
    keys, values = [0.5, 1.0, 3.0], [(1, 2, 3), (4, 0, 1), (-2, 5, 6)]
    moving = channel("translation", keys, values, interpolation)
    for t, expected in zip(
        [*keys, -1.0, 0.0, 0.49999, 3.0001, 99.0], [*values, values[0], values[0], values[0], *[values[2]] * 2], strict=True
    ):
        assert moving.at(t).tolist() == list(expected)


def test_linear_between_keys() -> None:
    moving = channel("translation", [0.5, 1.0, 3.0], [(1, 2, 3), (4, 0, 1), (-2, 5, 6)], "LINEAR")
    np.testing.assert_allclose(moving.at(0.75), (2.5, 1, 2), atol=1e-12)
    np.testing.assert_allclose(moving.at(2.5), (-0.5, 3.75, 4.75), atol=1e-12)


def test_step_holds_until_the_next_key() -> None:
    moving = channel("scale", [0, 1, 2], [(1, 1, 1), (2, 2, 2), (3, 3, 3)], "STEP")
    assert [moving.at(t)[0] for t in (0.0, 0.999, 1.0, 1.999, 2.0)] == [1, 1, 2, 2, 3]


def cubic(path: str = "translation") -> tuple[Channel, Array]:
    """A cubic channel of three uneven keys, and its values [3, (in, value, out), width]."""
    width = 4 if path == "rotation" else 3
    values = np.random.default_rng(3).normal(size=(3, 3, width))
    if path == "rotation":
        values[:, 1] /= np.linalg.norm(values[:, 1], axis=1, keepdims=True)
    return channel(path, [1.0, 1.5, 3.5], values, "CUBICSPLINE"), values


def test_cubic_spline_at_keys_and_outside() -> None:
    moving, values = cubic()
    for t, k in ((0.0, 0), (1.0, 0), (1.5, 1), (3.5, 2), (9.0, 2)):
        np.testing.assert_allclose(moving.at(t), values[k, 1], atol=1e-12)


@pytest.mark.parametrize(("k", "start", "end"), [(0, 1.0, 1.5), (1, 1.5, 3.5)])
def test_cubic_spline_is_the_hermite_curve(k: int, start: float, end: float) -> None:
    moving, values = cubic()
    step = end - start
    # the only cubic with these ends and these slopes, by solving for its coefficients
    rows = np.array([(1, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0), (0, 1, 2, 3)], float)
    ends = np.stack([values[k, 1], values[k + 1, 1], step * values[k, 2], step * values[k + 1, 0]])
    coefficients = np.linalg.solve(rows, ends)
    for u in (0.1, 0.37, 0.5, 0.99):
        np.testing.assert_allclose(moving.at(start + u * step), np.array([1, u, u * u, u**3]) @ coefficients, atol=1e-12)


def test_cubic_rotation_keeps_unit_length() -> None:
    moving, _ = cubic("rotation")
    for t in np.linspace(1, 3.5, 17):
        assert np.linalg.norm(moving.at(float(t))) == pytest.approx(1, abs=1e-12)


def test_one_key_is_a_constant() -> None:
    moving = channel("translation", [2.0], [(1, 2, 3)], "LINEAR")
    assert [moving.at(t).tolist() for t in (0.0, 2.0, 5.0)] == [[1, 2, 3]] * 3


def test_linear_rotation_is_slerp() -> None:
    a, b = about((0, 0, 1), 10), about((0, 0, 1), 100)
    np.testing.assert_allclose(channel("rotation", [1, 3], [a, b], "LINEAR").at(1.5), about((0, 0, 1), 32.5), atol=1e-12)


# slerp


def normalised(q: Array) -> Array:
    """A quaternion of length one; very short ones are not tried."""
    assume(np.linalg.norm(q) > 1e-3)
    return q / np.linalg.norm(q)


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_keeps_unit_length(a: Array, b: Array, u: float) -> None:
    assert np.linalg.norm(slerp(normalised(a), normalised(b), u)) == pytest.approx(1, abs=1e-9)


@given(quaternions, quaternions)
def test_slerp_reaches_both_ends(a: Array, b: Array) -> None:
    a, b = normalised(a), normalised(b)
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-9)
    np.testing.assert_allclose(matrix(slerp(a, b, 1.0)), matrix(b), atol=1e-8)


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_takes_the_shorter_arc(a: Array, b: Array, u: float) -> None:
    a, b = normalised(a), normalised(b)
    between = slerp(a, b, u)
    whole = 2 * math.acos(min(1.0, abs(float(a @ b))))
    part = 2 * math.acos(min(1.0, abs(float(a @ between))))
    assert part == pytest.approx(u * whole, abs=1e-5)
    assert whole <= math.pi + 1e-9


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_does_not_depend_on_signs(a: Array, b: Array, u: float) -> None:
    a, b = normalised(a), normalised(b)
    assume(abs(float(a @ b)) > 1e-6)  # at exactly half a turn both arcs are the shorter one
    np.testing.assert_allclose(matrix(slerp(a, -b, u)), matrix(slerp(a, b, u)), atol=1e-9)


@pytest.mark.parametrize("whole", [0.5, 3.0, 3.7, 60.0, 179.0])
def test_slerp_equals_the_closed_form(whole: float) -> None:
    axis, start = (1 / 3, 2 / 3, -2 / 3), about((0.6, 0, 0.8), 40)
    end = product(about(axis, whole), start)
    for u in (0.2, 0.5, 0.9):
        np.testing.assert_allclose(slerp(start, end, u), product(about(axis, u * whole), start), atol=2e-6)


def product(a: Array, b: Array) -> Array:
    """Hamilton's product of xyzw quaternions."""
    v = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.array([*v, a[3] * b[3] - a[:3] @ b[:3]])


# transforms


@given(quaternions, quaternions)
def test_compose_respects_products(a: Array, b: Array) -> None:
    a, b = normalised(a), normalised(b)
    np.testing.assert_allclose(matrix(product(a, b)), matrix(a) @ matrix(b), atol=1e-12)


def test_compose_scales_then_turns_then_moves() -> None:
    m = compose(np.array([(10.0, 20, 30)]), about((0, 0, 1), 90)[None], np.array([(2.0, 3, 4)]))[0]
    np.testing.assert_allclose(m @ [1, 1, 1, 1], (10 - 3, 20 + 2, 30 + 4, 1), atol=1e-12)


def test_compose_normalises_quaternions() -> None:
    np.testing.assert_allclose(matrix(5 * about((0, 1, 0), 30)), matrix(about((0, 1, 0), 30)), atol=1e-12)


# hierarchies


def opened(maker: GltfMaker, folder: Path) -> GltfFile:
    """The saved file, opened."""
    return GltfFile(maker.save(folder))


def test_hierarchy_composes(tmp_path: Path) -> None:
    maker, quarter = GltfMaker(), about((0, 0, 1), 90).tolist()
    maker.node(translation=[1, 0, 0], rotation=quarter)  # a child of node 2, listed before its parent
    column_major = np.array([(1, 0, 0, 5), (0, 1, 0, 6), (0, 0, 1, 7), (0, 0, 0, 1)], float).T.ravel().tolist()
    maker.node(matrix=column_major, children=[2])
    maker.node(scale=[2, 2, 2], rotation=quarter, children=[0])
    world, weights = Skeleton(opened(maker, tmp_path)).pose([], 0.0)
    np.testing.assert_allclose(world[1][:3, 3], (5, 6, 7), atol=1e-12)
    np.testing.assert_allclose(world[2] @ [1, 0, 0, 1], (5, 8, 7, 1), atol=1e-12)
    np.testing.assert_allclose(world[0][:3, 3], (5, 8, 7), atol=1e-12)
    np.testing.assert_allclose(world[0] @ [1, 0, 0, 1], (3, 8, 7, 1), atol=1e-12)  # two quarter turns, scale two
    assert weights == {}


def test_order_has_parents_first_and_leaves_other_scenes_out(tmp_path: Path) -> None:
    maker = GltfMaker()
    for children in ([], [0], [1], []):
        maker.node(**({"children": children} if children else {}))
    maker.json["scenes"] = [{"nodes": [3]}, {"nodes": [2]}]
    maker.json["scene"] = 1
    assert Skeleton(opened(maker, tmp_path)).order == [2, 1, 0]


def test_without_scenes_every_root_counts(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(children=[1])
    maker.node()
    maker.node()
    maker.json["scenes"] = []
    assert sorted(Skeleton(opened(maker, tmp_path)).order) == [0, 1, 2]


def test_animation_replaces_only_what_it_names(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node(translation=[1, 2, 3], scale=[2, 2, 2])
    maker.node(translation=[7, 7, 7])
    maker.animation("move", (0, "translation", [0, 2], [(0, 0, 0), (4, 0, 0)], "LINEAR"))
    file = opened(maker, tmp_path)
    skeleton, channels = Skeleton(file), read_channels(file, file.items("animations")[0], Repairs(file.path))
    world, _ = skeleton.pose(channels, 1.0)
    np.testing.assert_allclose(world[0] @ [1, 1, 1, 1], (4, 2, 2, 1), atol=1e-12)
    np.testing.assert_allclose(world[1][:3, 3], (7, 7, 7), atol=1e-12)
    assert np.array_equal(skeleton.translation[0], (1, 2, 3))  # the rest pose stays


def test_channels_of_unknown_kind_are_passed_over(tmp_path: Path) -> None:
    maker = GltfMaker()
    maker.node()
    maker.animation("odd", (0, "translation", [0, 1], [(0, 0, 0), (4, 0, 0)], "LINEAR"), (0, "pointer", [0, 1], [0, 1], "LINEAR"))
    maker.json["animations"][0]["channels"].append({"sampler": 0, "target": {"path": "translation"}})
    file = opened(maker, tmp_path)
    assert [c.path for c in read_channels(file, file.items("animations")[0], Repairs(file.path))] == ["translation"]


@pytest.mark.parametrize("interpolation", ["LINEAR", "CUBICSPLINE"])
def test_weights_channels_hold_all_targets(tmp_path: Path, interpolation: str) -> None:
    maker, per_key = GltfMaker(), 3 if interpolation == "CUBICSPLINE" else 1
    maker.node()
    values = np.arange(2 * per_key * 5, dtype=float)
    maker.animation("blend", (0, "weights", [0, 1], values, interpolation))
    file = opened(maker, tmp_path)
    (blend,) = read_channels(file, file.items("animations")[0], Repairs(file.path))
    _, weights = Skeleton(file).pose([blend], 0.0)
    expected = values[5:10] if per_key == 3 else values[:5]
    assert weights[0].tolist() == expected.tolist()
