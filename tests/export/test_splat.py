"""``.splat``: the 32 bytes, and the order in which viewers show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.export import export, load_scene
from chronosplat.scenes import Gaussians3D
from chronosplat.shapes import InputError
from tests.export.kit import written
from tests.scene_kit import static_scene


def test_a_row_is_what_viewers_expect(tmp_path: Path) -> None:
    scene = Gaussians3D(
        means=torch.tensor([[1.0, 2, 3]]),
        quats=torch.tensor([[1.0, 0, -1, 0]]),
        scales=torch.tensor([[0.5, 0.25, 0.125]]),
        opacities=torch.tensor([0.6]),
        colors=torch.tensor([[0.0, 0.2, 1.5]]),
    )
    data = written(scene, tmp_path / "a.splat", up="capture")
    assert np.frombuffer(data, "<f4", 6).tolist() == [1, 2, 3, 0.5, 0.25, 0.125]
    assert list(data[24:]) == [0, 51, 255, 153, 128 + 91, 128, 128 - 91, 128]


def test_what_covers_most_comes_first(tmp_path: Path) -> None:
    found = load_scene(export(static_scene(50), tmp_path / "a.splat")).at(0.0)
    weight = (found.scales.prod(1) * found.opacities).tolist()
    assert weight == pytest.approx(sorted(weight, reverse=True), rel=0.02)


def test_a_size_that_is_no_multiple_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.splat").write_bytes(bytes(33))
    with pytest.raises(InputError, match=r"a\.splat: cut short or no \.splat file \(33 bytes, expected a multiple of 32\)$"):
        load_scene(tmp_path / "a.splat")


def test_negative_scales_are_refused(tmp_path: Path) -> None:
    rows = np.zeros((2, 8), "<f4")
    rows[1, 4] = -1
    (tmp_path / "a.splat").write_bytes(rows.tobytes())
    with pytest.raises(InputError, match=r"a\.splat: damaged, 1 Gaussians have negative scales$"):
        load_scene(tmp_path / "a.splat")
