"""Videos decode to the images that were written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.export import write_video
from chronosplat.shapes import InputError

COLORS = [(0.8, 0.2, 0.2), (0.2, 0.8, 0.2), (0.2, 0.2, 0.8), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)]


def plain(height: int = 32, width: int = 48) -> list[Tensor]:
    """One image of each colour."""
    return [torch.tensor(color).expand(height, width, 3) for color in COLORS]


def decoded(path: Path) -> NDArray[np.uint8]:
    """The frames [T, H, W, 3] of a video."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)])


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_video_decodes_to_its_images_in_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"a{suffix}"
    write_video(plain(), path)
    frames = decoded(path)
    assert frames.shape == (5, 32, 48, 3)
    for frame, color in zip(frames, COLORS, strict=True):
        np.testing.assert_allclose(frame.mean((0, 1)) / 255, color, atol=0.02)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_rows_and_columns_stay_where_they_are(tmp_path: Path) -> None:
    image = torch.zeros(32, 64, 3)
    image[:16, :32] = 1.0
    write_video([image] * 2, tmp_path / "a.mp4")
    frame = decoded(tmp_path / "a.mp4")[0].astype(float) / 255
    np.testing.assert_allclose(frame[2:14, 2:30], 1, atol=0.03)
    np.testing.assert_allclose(frame[18:], 0, atol=0.03)
    np.testing.assert_allclose(frame[:, 34:], 0, atol=0.03)


@pytest.mark.parametrize("fps", [5.0, 24.0, 29.97])
def test_the_frame_rate_is_kept(tmp_path: Path, fps: float) -> None:
    write_video(plain(), tmp_path / "a.mp4", fps)
    with av.open(str(tmp_path / "a.mp4")) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
        assert float(rate) == pytest.approx(fps, rel=1e-4)


def test_odd_sides_lose_their_last_row_or_column(tmp_path: Path) -> None:
    write_video(plain(33, 47), tmp_path / "a.mp4")
    assert decoded(tmp_path / "a.mp4").shape == (5, 32, 46, 3)


def test_values_outside_are_clamped_and_gradients_do_not_hinder(tmp_path: Path) -> None:
    image = torch.tensor([-3.0, 0.5, 7.0]).repeat(32, 32, 1).requires_grad_()
    clamped = image.detach().clamp(0, 1)
    write_video([image], tmp_path / "wild.mp4")
    write_video([clamped], tmp_path / "tame.mp4")
    assert np.array_equal(decoded(tmp_path / "wild.mp4"), decoded(tmp_path / "tame.mp4"))


def test_images_are_streamed_and_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[Tensor]:
        yield from plain()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_video(broken(), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_no_images_and_unknown_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: no images to write$"):
        write_video([], tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mov: unknown video format; expected \.mp4, \.webm, \.gif, \.apng$"):
        write_video(plain(), tmp_path / "a.mov")
    assert list(tmp_path.iterdir()) == []
