"""Splat PLY files: the convention other viewers read, round trips, worlds and seconds, and refusals."""

from __future__ import annotations

import math
import re
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chronosplat.cameras import Similarity
from chronosplat.events import Events, Notice
from chronosplat.export import read_ply, write_ply
from chronosplat.export.ply_table import read_elements
from chronosplat.scenes import Clock, Gaussians3D, Gaussians4D, normalize
from chronosplat.shapes import InputError
from tests.scene_kit import covariances, law, moving_scene, seeds, similarities, static_scene, tilted_world

SH_C0 = 0.28209479177387814
ORDER = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
ORDER += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
MOVING = ["t", "scale_t", "motion_0", "motion_1", "motion_2"]
BEGIN, END = "ply\nformat binary_little_endian 1.0\n", "end_header\n"
VERTICES = "element vertex 2\n" + "".join(f"property float {name}\n" for name in ORDER)
BODY = np.arange(2 * len(ORDER), dtype="<f4").tobytes()


def raw(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Header lines and the table [N, columns] of a PLY of floats, read without the package."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    columns = sum(line.startswith("property") for line in lines)
    return lines, np.frombuffer(body, "<f4").reshape(-1, columns)


def put(path: Path, header: str, body: bytes) -> Path:
    """A file made of a header and a body."""
    path.write_bytes(header.encode() + body)
    return path


@law
@given(seeds(), st.integers(0, 5))
def test_static_gaussians_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int, count: int) -> None:
    scene, path = static_scene(count, seed), tmp_path_factory.mktemp("ply") / "a.ply"
    write_ply(scene, path)
    found = read_ply(path)
    assert isinstance(found, Gaussians3D)
    assert torch.equal(found.means, scene.means)
    torch.testing.assert_close(found.quats, scene.quats, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.scales, scene.scales, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.opacities, scene.opacities, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.colors, scene.colors, rtol=0, atol=1e-6)
    assert found.world.is_identity()


@law
@given(seeds())
def test_moving_gaussians_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    scene, path = moving_scene(seed=seed, clock=Clock()), tmp_path_factory.mktemp("ply") / "a.ply"
    write_ply(scene, path)
    found = read_ply(path)
    assert isinstance(found, Gaussians4D)
    assert found.clock == Clock()
    for name in ("means", "velocities", "time_centers"):
        assert torch.equal(getattr(found, name), getattr(scene, name)), name
    for name in ("quats", "scales", "opacities", "colors", "time_sigmas"):
        torch.testing.assert_close(getattr(found, name), getattr(scene, name), rtol=1e-6, atol=1e-6)


def test_the_raw_table_keeps_the_3dgs_convention(tmp_path: Path) -> None:
    scene = Gaussians3D(
        means=torch.tensor([[1.0, 2, 3], [4, 5, 6]]),
        quats=torch.tensor([[2.0, 0, 0, 0], [1, 1, -1, 1]]),
        scales=torch.tensor([[1.0, math.e, 0.5], [0.1, 0.01, 1e-3]]),
        opacities=torch.tensor([0.5, 0.9]),
        colors=torch.tensor([[0.5, 1.0, 0.0], [0.25, 0.75, 0.5]]),
    )
    write_ply(scene, tmp_path / "a.ply")
    lines, table = raw(tmp_path / "a.ply")
    assert lines == ["ply", "format binary_little_endian 1.0", "element vertex 2", *(f"property float {name}" for name in ORDER)]
    half = 0.5 / SH_C0
    expected = [
        [1, 2, 3, 0, 0, 0, 0, half, -half, 0, 0, 1, math.log(0.5), 1, 0, 0, 0],
        [4, 5, 6, 0, 0, 0, -half / 2, half / 2, 0, math.log(9), *np.log([0.1, 0.01, 1e-3]), 0.5, 0.5, -0.5, 0.5],
    ]
    np.testing.assert_allclose(table, expected, rtol=1e-6, atol=1e-6)


def test_a_moving_scene_stays_readable_for_static_viewers(tmp_path: Path) -> None:
    scene = moving_scene(clock=Clock(3.0, 0.5))
    write_ply(scene, tmp_path / "moving.ply")
    write_ply(Gaussians3D(scene.means, scene.quats, scene.scales, scene.opacities, scene.colors), tmp_path / "static.ply")
    lines, table = raw(tmp_path / "moving.ply")
    assert [line.split()[-1] for line in lines if line.startswith("property")] == ORDER + MOVING
    assert np.array_equal(table[:, : len(ORDER)], raw(tmp_path / "static.ply")[1])
    added = torch.cat([3 + 0.5 * scene.time_centers[:, None], (0.5 * scene.time_sigmas)[:, None].log(), scene.velocities / 0.5], 1)
    np.testing.assert_allclose(table[:, len(ORDER) :], added.numpy(), rtol=1e-6, atol=1e-6)


@law
@given(seeds(), similarities())
def test_static_gaussians_are_written_in_the_captures_world(tmp_path_factory: pytest.TempPathFactory, seed: int, world: Similarity) -> None:
    scene, path = static_scene(seed=seed, world=world), tmp_path_factory.mktemp("ply") / "a.ply"
    write_ply(scene, path)
    found = read_ply(path)
    linear = world.scale * world.rotation
    torch.testing.assert_close(found.means.double(), world.points(scene.means.double()), rtol=1e-5, atol=1e-5)
    size = world.scale**2 * 0.22**2  # of the largest covariance
    torch.testing.assert_close(covariances(found), linear @ covariances(scene) @ linear.T, rtol=1e-5, atol=1e-5 * size)
    torch.testing.assert_close(found.quats.norm(dim=-1), torch.ones(scene.num_gaussians), rtol=0, atol=1e-6)


@law
@given(seeds(), similarities(), st.floats(-4, 4), st.floats(0.2, 4), st.floats(-2, 2))
def test_a_moving_scene_is_written_in_the_captures_world_and_seconds(
    tmp_path_factory: pytest.TempPathFactory, seed: int, world: Similarity, offset: float, rate: float, t: float
) -> None:
    scene, path = moving_scene(seed=seed, world=world, clock=Clock(offset, rate)), tmp_path_factory.mktemp("ply") / "a.ply"
    write_ply(scene, path)
    seconds = offset + rate * t
    found, expected = read_ply(path), scene.at(seconds)
    assert isinstance(found, Gaussians4D)
    torch.testing.assert_close(found.velocities, world.scale * world.directions(scene.velocities) / rate, rtol=1e-5, atol=1e-5)
    moved = found.at(seconds)
    torch.testing.assert_close(moved.means, expected.means, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(moved.opacities, expected.opacities, rtol=0, atol=1e-5)
    torch.testing.assert_close(covariances(moved), covariances(expected), rtol=1e-4, atol=1e-5 * world.scale**2)


def test_the_rims_of_opacity_and_scale_stay_finite(tmp_path: Path) -> None:
    scene = replace(static_scene(2), opacities=torch.tensor([0.0, 1.0]), scales=torch.zeros(2, 3))
    write_ply(scene, tmp_path / "a.ply")
    assert np.isfinite(raw(tmp_path / "a.ply")[1]).all()
    torch.testing.assert_close(read_ply(tmp_path / "a.ply").opacities, scene.opacities, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_scenes_of_any_precision_are_written_as_finite_floats(tmp_path: Path, dtype: torch.dtype) -> None:
    scene = replace(static_scene(3), opacities=torch.tensor([0.0, 0.5, 1.0]), scales=torch.zeros(3, 3)).to(dtype=dtype)
    write_ply(scene, tmp_path / "a.ply")
    table = raw(tmp_path / "a.ply")[1]
    assert np.isfinite(table).all()
    assert np.array_equal(table[:, :3], scene.means.float().numpy())


def test_quaternions_of_any_length_are_written_unit(tmp_path: Path) -> None:
    scene = static_scene()
    write_ply(replace(scene, quats=scene.quats * 7), tmp_path / "a.ply")
    torch.testing.assert_close(torch.from_numpy(raw(tmp_path / "a.ply")[1][:, -4:].copy()), normalize(scene.quats), rtol=0, atol=1e-6)


def test_gradients_do_not_hinder_and_nothing_is_left_beside(tmp_path: Path) -> None:
    scene = moving_scene(world=tilted_world()).map(lambda x: x.clone().requires_grad_())
    write_ply(scene, tmp_path / "new" / "a.ply")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.ply"]
    write_ply(scene.map(lambda x: x.detach()), tmp_path / "plain.ply")
    assert (tmp_path / "new" / "a.ply").read_bytes() == (tmp_path / "plain.ply").read_bytes()


def test_higher_harmonics_and_comments_of_others_are_passed_over(tmp_path: Path) -> None:
    names = [*ORDER[:9], *(f"f_rest_{i}" for i in range(45)), *ORDER[9:]]
    table = np.random.default_rng(0).normal(size=(3, len(names))).astype("<f4")
    header = BEGIN + "comment made elsewhere\nelement vertex 3\n" + "".join(f"property float {n}\n" for n in names) + END
    found = read_ply(put(tmp_path / "a.ply", header, table.tobytes()))
    assert found.num_gaussians == 3
    assert np.array_equal(found.means.numpy(), table[:, :3])
    np.testing.assert_allclose(found.quats.numpy(), normalize(torch.from_numpy(table[:, -4:].copy())).numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.colors.numpy(), 0.5 + SH_C0 * table[:, 6:9], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.opacities.numpy(), 1 / (1 + np.exp(-table[:, -8])), rtol=1e-5)


def test_elements_after_the_vertices_do_not_shift_the_table(tmp_path: Path) -> None:
    header = BEGIN + VERTICES + "element intrinsic 9\nproperty float intrinsic\nelement face 1\nproperty list uchar int i\n" + END
    table = read_elements(put(tmp_path / "a.ply", header, BODY + np.zeros(9, "<f4").tobytes()), "vertex").columns("vertex")
    assert list(table) == ORDER
    assert table["x"].tolist() == [0, len(ORDER)]
    assert table["rot_3"].tolist() == [len(ORDER) - 1, 2 * len(ORDER) - 1]


def variant(types: dict[str, str], extra: list[str], order: str = "<") -> tuple[str, bytes]:
    """A PLY of two Gaussians whose columns have other types; ``extra`` are put in front."""
    codes = {"double": "f8", "float": "f4", "ushort": "u2", "uchar": "u1", "int16": "i2"}
    names = [*extra, *reversed(ORDER)]
    kinds = [types.get(name, "float") for name in names]
    rows = np.zeros(2, np.dtype([(name, order + codes[kind]) for name, kind in zip(names, kinds, strict=True)]))
    for name in ORDER:
        rows[name] = [ORDER.index(name) % 3, ORDER.index(name) % 2]
    header = f"ply\nformat binary_{'little' if order == '<' else 'big'}_endian 1.0\nelement vertex 2\n"
    header += "".join(f"property {kind} {name}\n" for name, kind in zip(names, kinds, strict=True))
    return header + END, rows.tobytes()


@pytest.mark.parametrize(
    ("types", "extra", "order"),
    [
        ({}, [], "<"),
        ({"x": "double", "rot_0": "double"}, [], "<"),
        ({"selected": "uchar", "id": "ushort", "y": "int16"}, ["selected", "id"], "<"),
        ({"opacity": "double"}, [], ">"),
    ],
    ids=["other order", "doubles", "bytes and shorts", "big endian"],
)
def test_columns_of_any_type_and_order_are_read(tmp_path: Path, types: dict[str, str], extra: list[str], order: str) -> None:
    plain = read_ply(put(tmp_path / "plain.ply", *variant({}, [])))
    found = read_ply(put(tmp_path / "a.ply", *variant(types, extra, order)))
    for name, tensor in plain.tensors().items():
        assert torch.equal(getattr(found, name), tensor), name


def test_elements_before_the_vertices_are_passed_over(tmp_path: Path) -> None:
    header = BEGIN + "element camera 2\nproperty double focal\nproperty uchar id\n" + VERTICES + END
    assert read_ply(put(tmp_path / "a.ply", header, bytes(18) + BODY)).means.tolist() == [[0, 1, 2], [17, 18, 19]]


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    header = (BEGIN + VERTICES + END).replace("\n", "\r\n")
    assert read_ply(put(tmp_path / "a.ply", header, BODY)).means.tolist() == [[0, 1, 2], [17, 18, 19]]


def test_a_header_that_claims_a_trillion_gaussians_fails_at_once(tmp_path: Path) -> None:
    path = put(tmp_path / "a.ply", BEGIN + VERTICES.replace("element vertex 2", f"element vertex {10**12}") + END, BODY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=rf"a\.ply: cut short \(136 of {68 * 10**12} bytes\)$"):
        read_ply(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_the_names_of_spacetime_gaussians_are_read(tmp_path: Path) -> None:
    names = [*ORDER, "trbf_center", "trbf_scale", *(f"motion_{i}" for i in range(9)), *(f"omega_{i}" for i in range(4))]
    table = np.zeros((1, len(names)), "<f4")
    values = {"x": 1, "rot_0": 1, "f_dc_0": 0.25, "f_dc_1": 0.5, "f_dc_2": 1, "trbf_center": 0.5, "trbf_scale": math.log(0.3)}
    for name, value in (values | {"motion_0": 2, "motion_1": 3, "motion_2": 4, "motion_7": 5}).items():
        table[0, names.index(name)] = value
    header = BEGIN + "element vertex 1\n" + "".join(f"property float {n}\n" for n in names) + END
    notices: list[Notice] = []
    found = read_ply(put(tmp_path / "a.ply", header, table.tobytes()), Events(notice=notices.append))
    assert isinstance(found, Gaussians4D)
    assert [n.code for n in notices] == ["spacetime-motion"]
    assert found.colors.tolist() == [[0.25, 0.5, 1.0]]
    for t in (0.2, 0.5, 0.8):
        at = found.at(t)
        torch.testing.assert_close(at.means, torch.tensor([[1 + 2 * (t - 0.5), 3 * (t - 0.5), 4 * (t - 0.5)]]))
        torch.testing.assert_close(at.opacities, torch.tensor([0.5 * math.exp(-(((t - 0.5) / 0.3) ** 2))]))


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        (BEGIN + "element face 1\nproperty list uchar int i\n" + VERTICES + END, bytes(5) + BODY, "the element face before the Gaussians"),
        (BEGIN + VERTICES.replace("element vertex 2", "element point 2") + END, BODY, "not a Gaussian splat PLY (no x)"),
        (BEGIN + VERTICES.replace("element vertex 2", "element vertex two") + END, BODY, "expected 'element NAME COUNT'"),
        (BEGIN + VERTICES.replace("float x", "half x") + END, BODY, "expected 'property TYPE NAME', got 'property half x'"),
        (BEGIN + VERTICES + "property float x\n" + END, BODY + bytes(8), "damaged header"),
        (BEGIN + "property float x\n" + VERTICES + END, BODY, "a property before the first element"),
        (BEGIN + "element vertex 0\nproperty uint packed_position\n" + END, b"", "a compressed PLY; rename it to a.compressed.ply"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tmp_path: Path, header: str, body: bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"a\.ply: .*{re.escape(message)}"):
        read_ply(put(tmp_path / "a.ply", header, body))


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        ("", b"", r"a\.ply: not a PLY file$"),
        ("solid cube\nend_header\n", b"", r"a\.ply: not a PLY file$"),
        (BEGIN + VERTICES, b"", r"a\.ply: not a PLY file$"),
        ("ply\nformat ascii 1.0\n" + VERTICES + END, b"", r"a\.ply: expected a binary PLY, got ASCII; save it as binary PLY in .*$"),
        ("ply\n" + VERTICES + END, b"", r"a\.ply: expected a binary PLY, got the format none$"),
        (BEGIN + VERTICES.replace("property float opacity\n", "") + END, BODY, r"a\.ply: not a Gaussian splat PLY \(no opacity\)$"),
        (BEGIN + "element vertex 2\nproperty float x\n" + END, BODY, r"a\.ply: not a Gaussian splat PLY \(no y\)$"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, header: str, body: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_ply(put(tmp_path / "a.ply", header, body))


@pytest.mark.parametrize("missing", [1, 4, 68, 135, 136])
def test_a_ply_cut_short_is_refused_with_its_bytes(tmp_path: Path, missing: int) -> None:
    with pytest.raises(InputError, match=rf"a\.ply: cut short \({136 - missing} of 136 bytes\)$"):
        read_ply(put(tmp_path / "a.ply", BEGIN + VERTICES + END, BODY[: 136 - missing]))


def test_the_observed_seconds_of_a_moving_scene_come_back(tmp_path: Path) -> None:
    scene = replace(moving_scene(), seconds=(0.25, 3.125))
    write_ply(scene, tmp_path / "a.ply")
    back = read_ply(tmp_path / "a.ply")
    assert isinstance(back, Gaussians4D)
    assert back.seconds == (0.25, 3.125)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_ply(tmp_path / "nothing.ply")
