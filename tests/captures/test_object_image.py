"""One image: whatever its file holds is read, its object is found, and it is framed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from chronosplat import InputError
from chronosplat.captures.matting import choose_matte
from chronosplat.captures.object_image import frame_image, open_image, read_pixels
from chronosplat.captures.window import FILL, Window, whole_window

Pixels = NDArray[np.uint8]
RED = (210, 30, 40)


def drawn(width: int = 48, height: int = 40, box: tuple[int, int, int, int] = (10, 12, 26, 28), background: int = 255) -> Pixels:
    """A red block (left, top, right, bottom) on grey or white."""
    picture = np.full((height, width, 3), background, np.uint8)
    left, top, right, bottom = box
    picture[top:bottom, left:right] = RED
    return picture


def saved(path: Path, pixels: NDArray[np.generic], mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


def test_colours_are_read(tmp_path: Path) -> None:
    assert np.array_equal(read_pixels(saved(tmp_path / "a.png", drawn())), drawn())


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("P", 3), ("1", 3), ("RGBA", 4), ("LA", 4)])
def test_every_kind_of_image_becomes_colours_and_maybe_alpha(tmp_path: Path, mode: str, channels: int) -> None:
    pixels = read_pixels(saved(tmp_path / "a.png", drawn(), mode))
    assert pixels.shape == (40, 48, channels)
    assert pixels.dtype == np.uint8
    assert pixels[0, 0].tolist() == [255] * channels
    assert pixels[12:28, 10:26, 1].mean() < 160
    if channels == 4:
        assert bool((pixels[..., 3] == 255).all())


def test_cmyk_jpegs_are_read(tmp_path: Path) -> None:
    pixels = read_pixels(saved(tmp_path / "a.jpg", drawn(), "CMYK"))
    assert pixels.shape == (40, 48, 3)
    assert np.abs(pixels[20, 18].astype(int) - RED).max() < 30


def test_a_palette_with_a_clear_colour_has_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(drawn()).quantize(4)
    white = np.array(image)[0, 0]
    image.save(tmp_path / "a.gif", transparency=int(white))
    pixels = read_pixels(tmp_path / "a.gif")
    assert pixels.shape == (40, 48, 4)
    assert pixels[0, 0, 3] == 0
    assert pixels[20, 20, 3] == 255


def test_sixteen_bits_of_grey_are_read_as_eight(tmp_path: Path) -> None:
    grey = np.full((40, 48), 65535, np.uint16)
    grey[12:28, 10:26] = 128 * 257
    pixels = read_pixels(saved(tmp_path / "a.png", grey))
    assert pixels.shape == (40, 48, 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert np.abs(pixels[20, 20].astype(int) - 128).max() <= 1


@pytest.mark.parametrize(("tag", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_images_of_a_turned_telephone_are_upright(tmp_path: Path, tag: int, turns: int) -> None:
    """The EXIF orientation says how the stored pixels are to be turned before they are looked at."""
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(drawn()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_pixels(tmp_path / "a.png"), np.rot90(drawn(), turns))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_pixels(path)


@pytest.mark.parametrize("content", [b"", b"nope" * 50, b"\x89PNG broken", b"GIF89a", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded as an image"):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_images_cut_short_are_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be decoded as an image"):
        read_pixels(path)


def test_images_larger_than_the_decoder_dares_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", drawn())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=r"a\.png: cannot be decoded as an image .*exceeds limit"):
        read_pixels(path)


@pytest.mark.parametrize(("background", "alpha"), [(255, False), (128, False), (0, True)])
def test_the_object_is_found_and_framed(tmp_path: Path, background: int, alpha: bool) -> None:
    pixels = drawn(background=background)
    if alpha:
        pixels = np.concatenate([pixels, 255 * (pixels[..., :1] == RED[0]).astype(np.uint8)], 2)
    picture = open_image(saved(tmp_path / "cat.png", pixels))
    assert picture.matte.kind == ("alpha" if alpha else "uniform")
    assert picture.window.side == round(16 / FILL)
    assert picture.notices[0].text.startswith("cat.png: ")
    assert len(picture.notices) == 1
    images, alphas = picture.framed(63)  # three pixels for one
    assert images.shape == (63, 63, 3)
    assert alphas.shape == (63, 63, 1)
    solid = alphas[..., 0] > 0.5
    rows, columns = (torch.nonzero(solid.any(axis)).flatten() for axis in (1, 0))
    for edges in (rows, columns):
        assert len(edges) == 48
        assert abs(int(edges[0]) - (62 - int(edges[-1]))) <= 3  # in the middle, up to a pixel of the file
    torch.testing.assert_close(images[31, 31], torch.tensor(RED) / 255)


def test_an_object_off_the_middle_is_framed_beyond_the_image(tmp_path: Path) -> None:
    picture = open_image(saved(tmp_path / "cat.png", drawn(box=(1, 1, 37, 13), background=200)))
    assert picture.window == Window(-5, -17, 48)
    images, alphas = picture.framed(48)
    assert float(alphas.sum()) == 36 * 12
    assert float(alphas[18:30, 6:42].sum()) == 36 * 12
    torch.testing.assert_close(images * alphas + 1 - alphas, torch.where(alphas > 0, torch.tensor(RED) / 255, torch.ones(3)))


def test_an_object_at_the_border_is_warned_of(tmp_path: Path) -> None:
    picture = open_image(saved(tmp_path / "cat.png", drawn(box=(10, 20, 26, 40))), "uniform")
    assert len(picture.notices) == 2
    assert (picture.notices[1].level, picture.notices[1].code) == ("warning", "touches-border")
    assert picture.notices[1].text.startswith("the object touches the image's border")


def test_notes_of_an_image_speak_of_no_frames_and_seconds(tmp_path: Path) -> None:
    picture = open_image(saved(tmp_path / "cat.png", drawn(box=(10, 20, 26, 40))), "uniform")
    with pytest.raises(InputError) as raised:
        open_image(saved(tmp_path / "empty.png", drawn(box=(0, 0, 0, 0))))
    for line in (*map(str, picture.notices), str(raised.value)):
        assert "frames" not in line
        assert "0.00 s" not in line


@pytest.mark.parametrize("alpha", [False, True])
def test_images_without_an_object_are_refused(tmp_path: Path, alpha: bool) -> None:
    pixels = np.zeros((40, 48, 4), np.uint8) if alpha else drawn(box=(0, 0, 0, 0))
    with pytest.raises(InputError, match=r"cat\.png: no object found in it; try another matting"):
        open_image(saved(tmp_path / "cat.png", pixels))


def test_a_busy_background_leaves_the_whole_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    picture = open_image(saved(tmp_path / "cat.png", noise))
    assert picture.matte.kind == "none"
    assert picture.window == whole_window(48, 40) == Window(0, -4, 48)
    images, alphas = picture.framed(48)
    torch.testing.assert_close(images[4:44], torch.from_numpy(noise).float() / 255)
    assert float(alphas[:4].sum() + alphas[44:].sum()) == 0
    assert bool((alphas[4:44] == 1).all())


def test_a_window_beside_the_image_is_empty() -> None:
    pixels = drawn()
    _, alphas = frame_image(pixels, Window(100, -90, 20), choose_matte("none", [pixels], "a"), 20)
    assert alphas.shape == (20, 20, 1)
    assert float(alphas.sum()) == 0


def test_large_images_are_made_small_alike_with_and_without_alpha() -> None:
    pixels = np.zeros((300, 300, 4), np.uint8)
    pixels[..., :3] = np.linspace(0, 255, 300).astype(np.uint8)[:, None, None]
    pixels[60:240, 60:240, 3] = 255
    shapes = {}
    for kind, source in (("alpha", pixels), ("none", pixels[..., :3])):
        images, shapes[kind] = frame_image(source, Window(60, 60, 180), choose_matte(kind, [source], "a"), 30)
        torch.testing.assert_close(images[:, 0, 0], torch.linspace(62, 238, 30) / 300, atol=0.01, rtol=0)
    assert bool((shapes["none"] > 0.999).all())
    assert bool((shapes["alpha"] > 0.999).all())
