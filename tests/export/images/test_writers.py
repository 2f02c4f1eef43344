"""Animations, numbered images and contact sheets hold the images that were written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from chronosplat.export import write_video
from chronosplat.export.images.stills import write_png, write_pngs, write_sheet
from chronosplat.shapes import InputError

COLORS = [(0.8, 0.2, 0.2), (0.2, 0.8, 0.2), (0.2, 0.2, 0.8)]


def squares(channels: int = 3) -> list[Tensor]:
    """A square that moves to the right, on white or on nothing."""
    images = []
    for index, color in enumerate(COLORS):
        image = torch.ones(32, 48, channels)
        image[..., 3:] = 0
        image[8:24, 8 * index : 8 * index + 16] = torch.tensor((*color, 1.0)[:channels])
        images.append(image)
    return images


def played(path: Path) -> tuple[np.ndarray, list[float]]:
    """Frames [T, H, W, 4] of an animation as a player shows them, and their durations in milliseconds."""
    with Image.open(path) as image:
        frames = [(np.asarray(f.convert("RGBA")) / 255, f.info["duration"]) for f in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0  # for ever
    return np.stack([f for f, _ in frames]), [d for _, d in frames]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("suffix", "tolerance"), [(".gif", 0.02), (".apng", 0.5 / 255 + 1e-6)])
def test_animations_show_their_images_without_traces_of_earlier_ones(tmp_path: Path, suffix: str, tolerance: float, channels: int) -> None:
    write_video(squares(channels), tmp_path / f"a{suffix}", 10)
    frames, durations = played(tmp_path / f"a{suffix}")
    assert durations == [100] * 3
    for frame, image in zip(frames, squares(channels), strict=True):
        expected = image.numpy() if channels == 4 else np.concatenate([image.numpy(), np.ones((32, 48, 1))], -1)
        np.testing.assert_allclose(frame[..., 3], expected[..., 3], atol=tolerance)
        np.testing.assert_allclose(frame[..., :3] * frame[..., 3:], expected[..., :3] * expected[..., 3:], atol=tolerance)


def test_apng_keeps_half_transparency_and_gif_decides(tmp_path: Path) -> None:
    images = [torch.tensor([1.0, 0.0, 0.0, alpha]).repeat(16, 16, 1) for alpha in (0.3, 0.7)]
    for suffix, expected in ((".apng", (0.3, 0.7)), (".gif", (0, 1))):
        write_video(images, tmp_path / f"a{suffix}", 10)
        np.testing.assert_allclose(played(tmp_path / f"a{suffix}")[0][:, 0, 0, 3], expected, atol=0.002)


def test_webm_keeps_transparency(tmp_path: Path) -> None:
    write_video(squares(4), tmp_path / "a.webm", 10)
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(tmp_path / "a.webm")) as container:
        packets = list(container.demux(video=0))
        assert container.streams.video[0].metadata["alpha_mode"] == "1"
    frames = [f for p in packets for f in decoder.decode(p if p.size else None)]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(frames) == 3
    for frame, image in zip(frames, squares(4), strict=True):
        alpha = frame.to_ndarray(format="rgba")[..., 3] / 255
        assert np.abs(alpha - image[..., 3].numpy()).mean() < 0.01


def test_a_video_without_transparency_refuses_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: libx264 holds no transparency; write \.webm, \.apng or \.png, or composite the images$"):
        write_video(squares(4), tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "fps", "most"), [(".gif", 60, 50), (".mp4", 0, 1000), (".apng", float("nan"), 1000)])
def test_frame_rates_that_cannot_be_played_are_refused(tmp_path: Path, suffix: str, fps: float, most: int) -> None:
    with pytest.raises(InputError, match=rf"^fps: {suffix} plays up to {most} frames per second, got {fps}; use fps={most}$"):
        write_video(squares(), tmp_path / f"a{suffix}", fps)
    assert list(tmp_path.iterdir()) == []


def test_images_that_a_codec_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.mp4: expected images of at least 2x2 pixels, got 1x8$"):
        write_video([torch.ones(8, 1, 3)], tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"a\.mp4: cannot be encoded as libx264 .*; try another size or format$"):
        write_video([torch.ones(2, 40_000, 3)], tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_pngs_are_exact_and_deep_ones_have_16_bits(tmp_path: Path) -> None:
    for channels in (3, 4):
        image = torch.rand(4, 6, channels)
        write_png(image, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as read:
            np.testing.assert_allclose(np.asarray(read) / 255, image, atol=0.5 / 255 + 1e-6)
    image = torch.rand(4, 6, 1)
    write_png(image, tmp_path / "deep.png", {"depth_unit": "0.5"})
    with Image.open(tmp_path / "deep.png") as read:
        assert np.asarray(read).dtype == np.uint16
        np.testing.assert_allclose(np.asarray(read) / 65535, image[..., 0], atol=0.5 / 65535 + 1e-6)
        assert read.info["depth_unit"] == "0.5"


def test_numbered_pngs_come_one_by_one_and_replace_a_longer_run(tmp_path: Path) -> None:
    def images(count: int) -> Iterator[Tensor]:
        for index in range(count):
            assert len(list(tmp_path.glob("f_*.png"))) >= index  # the earlier ones are written
            yield torch.full((2, 2, 3), index / 4)

    (tmp_path / "f_x.png").write_text("kept")
    for count in (4, 2):
        write_pngs(images(count), tmp_path / "f_####.png")
        assert sorted(p.name for p in tmp_path.iterdir()) == [*(f"f_{i:04d}.png" for i in range(count)), "f_x.png"]


def test_a_sheet_shows_its_images_row_by_row(tmp_path: Path) -> None:
    images = [torch.full((4, 6, 3), i / 8) for i in range(5)]
    write_sheet(images, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.size == (12, 12)
        sheet = np.asarray(read) / 255
    for index, image in enumerate([*images, torch.ones(4, 6, 3)]):
        row, column = divmod(index, 2)
        np.testing.assert_allclose(sheet[4 * row : 4 * row + 4, 6 * column : 6 * column + 6], image, atol=0.003)
    with pytest.raises(InputError, match="no images to write"):
        write_sheet([], tmp_path / "b.png")
