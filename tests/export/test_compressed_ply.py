"""Compressed PLY: the header others expect, chunks, older files, and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.events import Events, Notice
from chronosplat.export import export, load_scene
from chronosplat.shapes import InputError
from tests.export.kit import written
from tests.scene_kit import static_scene


def test_the_header_is_playcanvas(tmp_path: Path) -> None:
    header, body = written(static_scene(257), tmp_path / "a.compressed.ply").split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:4] == ["ply", "format binary_little_endian 1.0", "element chunk 2", "property float min_x"]
    bounds = "min_x min_y min_z max_x max_y max_z min_scale_x min_scale_y min_scale_z max_scale_x max_scale_y max_scale_z"
    assert [line.split()[2] for line in lines[3:21]] == f"{bounds} min_r min_g min_b max_r max_g max_b".split()
    assert lines[21] == "element vertex 257"
    assert lines[22:] == [f"property uint packed_{name}" for name in ("position", "rotation", "scale", "color")]
    assert len(body) == 2 * 18 * 4 + 257 * 16
    chunks = np.frombuffer(body, "<f4", 36).reshape(2, 18)
    assert (chunks[:, :3] <= chunks[:, 3:6]).all()


def test_files_without_bounds_of_colours_are_read(tmp_path: Path) -> None:
    scene = static_scene(5)
    whole = written(scene, tmp_path / "a.compressed.ply")
    header, body = whole.split(b"end_header\n", 1)
    lines = [line for line in header.split(b"\n") if line.split()[-1:] and line.split()[-1] not in
             (b"min_r", b"min_g", b"min_b", b"max_r", b"max_g", b"max_b")]  # fmt: skip
    (tmp_path / "b.compressed.ply").write_bytes(b"\n".join([*lines, b"end_header\n"]) + body[:48] + body[72:])
    packed = np.frombuffer(body[72:], "<u4").reshape(5, 4)[:, 3]
    expected = np.stack([packed >> shift & 255 for shift in (24, 16, 8)], 1) / 255
    np.testing.assert_allclose(load_scene(tmp_path / "b.compressed.ply").at(0.0).colors.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"element chunk 1", b"element chunk 0", "5 Gaussians need 1 chunks of 256"),
        (b"element chunk 1", b"element group 1", "5 Gaussians need 1 chunks of 256"),
        (b"packed_scale", b"packed_sizes", "not a compressed PLY (no packed_scale); a plain one is named .ply"),
        (b"min_scale_x", b"min_scale_w", "not a compressed PLY (no min_scale_x)"),
        (b"element vertex 5", b"element vertex 999999999999", "cut short"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "a.compressed.ply"
    path.write_bytes(written(static_scene(5), path).replace(old, new))
    with pytest.raises(InputError) as error:
        load_scene(path)
    assert message in str(error.value)


def test_harmonics_are_left_out_with_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "a.compressed.ply"
    whole = written(static_scene(2), path)
    path.write_bytes(whole.replace(b"end_header", b"element sh 2\nproperty uchar f_rest_0\nend_header") + bytes(2))
    notices: list[Notice] = []
    load_scene(path, Events(notice=notices.append))
    assert [n.code for n in notices] == ["harmonics"]


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    path = export(static_scene(5), tmp_path / "a.compressed.ply").rename(tmp_path / "A.Compressed.PLY")
    assert torch.isfinite(load_scene(path).at(0.0).means).all()
