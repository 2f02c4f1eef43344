"""Views of bytes: images of files stay bytes through slicing, resizing and framing, and convert to floats where they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import orbit
from chronosplat.captures import Views, load_capture
from chronosplat.captures.views import collected
from chronosplat.events import info
from chronosplat.shapes import InputError
from tests.captures.test_lazy import capture

SIZE, FRAMES = 16, 5
CAMERAS = orbit([30.0 * i for i in range(FRAMES)], 10.0, SIZE)
TIMES = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
ROUNDING = 0.5 / 255 + 1e-6


def rgba(seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (FRAMES, SIZE, SIZE, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def of_bytes() -> Views:
    return Views(pixels=rgba(), cameras=CAMERAS, times=TIMES)


def of_floats() -> Views:
    return Views(of_bytes().images, of_bytes().alphas, CAMERAS, TIMES)


def test_bytes_and_floats_are_the_same_images() -> None:
    here, there = of_bytes(), of_floats()
    assert here.pixels.dtype == torch.uint8
    assert there.pixels.dtype == here.images.dtype == here.alphas.dtype == here.on_white().dtype == torch.float32
    assert torch.equal(here.images, rgba()[..., :3].float() / 255)
    assert torch.equal(here.alphas, rgba()[..., 3:].float() / 255)
    for name in ("images", "alphas"):
        assert torch.equal(getattr(here, name), getattr(there, name))
    assert torch.equal(here.on_white(), there.on_white())
    assert torch.equal(there.rgba8(), rgba())


def test_bytes_are_not_copied() -> None:
    views = of_bytes()
    assert views.rgba8().data_ptr() == views.pixels.data_ptr()
    assert views[1:3].pixels.data_ptr() == views.pixels[1:3].data_ptr()
    assert replace(views, notices=(info("some", "thing"),)).pixels.data_ptr() == views.pixels.data_ptr()


def test_images_and_alphas_that_are_bytes_stay_bytes() -> None:
    views = Views(rgba()[..., :3], rgba()[..., 3:], CAMERAS, TIMES)
    assert torch.equal(views.pixels, rgba())


def test_bytes_with_floats_become_floats() -> None:
    mixed = Views(rgba()[..., :3], of_floats().alphas, CAMERAS, TIMES)
    assert torch.equal(mixed.pixels, of_floats().pixels)


@pytest.mark.parametrize("index", [slice(1, 3), [4, 0], torch.tensor([2])], ids=["slice", "list", "tensor"])
def test_slices_stay_bytes(index: slice | list[int] | Tensor) -> None:
    found = of_bytes()[index]
    assert torch.equal(found.pixels, rgba()[index])
    assert torch.equal(found.times, TIMES[index])
    assert torch.equal(found.cameras.viewmats, CAMERAS.viewmats[index])


def test_resized_and_framed_bytes_are_bytes_and_differ_by_rounding_only() -> None:
    for change in (lambda v: v.resized(12, 8), lambda v: v.framed(60.0, 12)):
        found, expected = change(of_bytes()), change(of_floats())
        assert found.pixels.dtype == torch.uint8
        assert expected.pixels.dtype == torch.float32
        assert float((found.images - expected.images).abs().max()) <= ROUNDING
        assert float((found.alphas - expected.alphas).abs().max()) <= ROUNDING
        assert torch.equal(found.cameras.Ks, expected.cameras.Ks)


@pytest.mark.parametrize("views", [of_bytes(), of_floats()], ids=["bytes", "floats"])
def test_images_or_alphas_are_replaced(views: Views) -> None:
    opaque = replace(views, alphas=torch.ones(FRAMES, SIZE, SIZE, 1))
    assert torch.equal(opaque.images, views.images)
    assert bool((opaque.alphas == 1).all())
    gray = replace(views, images=torch.full((FRAMES, SIZE, SIZE, 3), 0.5))
    assert torch.equal(gray.alphas, views.alphas)
    assert bool((gray.images == 0.5).all())


def test_doubles_stay_doubles() -> None:
    views = of_floats()
    assert replace(views, images=views.images.double(), alphas=views.alphas.double()).on_white().dtype == torch.float64


def test_images_of_files_are_bytes(tmp_path: Path) -> None:
    folder = capture(tmp_path / "a")
    for views in (load_capture(folder), load_capture(folder, size=24)):
        assert views.pixels.dtype == torch.uint8


def test_frames_are_stored_before_the_next_is_read() -> None:
    pixels = torch.zeros(3, 2, 2, 4, dtype=torch.uint8)

    def frames() -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(3):
            assert int(pixels.amax((1, 2, 3)).count_nonzero()) == i
            yield torch.full((1, 2, 2, 3), (i + 1) / 255), torch.ones(1, 2, 2, 1)

    assert collected(frames(), pixels)[:, 0, 0].tolist() == [[i, i, i, 255] for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (torch.zeros(FRAMES, SIZE, SIZE, 3, dtype=torch.uint8), "pixels: expected shape"),
        (torch.zeros(FRAMES, SIZE, SIZE, 4, dtype=torch.int64), "images: expected uint8 or floats"),
        (torch.full((FRAMES, SIZE, SIZE, 4), torch.nan), "images: .* NaN"),
        (torch.zeros(0, SIZE, SIZE, 4), "at least one frame|times"),
        (None, "views: expected images and alphas"),
    ],
)
def test_wrong_pixels_are_refused(pixels: Tensor | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        Views(pixels=pixels, cameras=CAMERAS, times=TIMES)


def test_images_alone_are_refused() -> None:
    with pytest.raises(InputError, match="views: expected images and alphas"):
        Views(of_floats().images, cameras=CAMERAS, times=TIMES)
