"""Views that the user has: their order, their number, their framing, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chronosplat import InputError
from chronosplat.multiview import VIEW_NAMES, load_given, save_views

Pixels = NDArray[np.uint8]
Background = tuple[int, int, int] | None
COLORS = {"front": (220, 30, 40), "right": (30, 170, 60), "back": (40, 60, 210), "left": (200, 180, 30)}
WHITE = (255, 255, 255)


def block(color: tuple[int, int, int], background: Background = WHITE, width: int = 32, height: int = 32, margin: int = 9) -> Pixels:
    """A block of one colour with margins all around; a background of None is transparent."""
    image = np.zeros((height, width, 3 if background else 4), np.uint8)
    if background:
        image[:] = background
    image[margin:-margin, margin:-margin] = color if background else (*color, 255)
    return image


def write(folder: Path, names: dict[str, str], background: Background = WHITE, suffix: str = ".png", **sizes: int) -> list[Path]:
    """TrainingViews under file names, each with the block of a face."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{suffix}" for name in names]
    for path, face in zip(paths, names.values(), strict=True):
        Image.fromarray(block(COLORS[face], background, **sizes)).save(path)
    return paths


def faces(folder: Path) -> list[Path]:
    """Four images, named by their faces."""
    return write(folder, {name: name for name in VIEW_NAMES})


def middles(views: Tensor) -> list[tuple[int, ...]]:
    """The colour in the middle of every view, in bytes."""
    height, width = views.shape[1:3]
    return [tuple(round(255 * float(c)) for c in view[height // 2, width // 2]) for view in views]


ALL = [COLORS[name] for name in VIEW_NAMES]


def test_a_folder_with_names_is_read_by_its_names(tmp_path: Path) -> None:
    faces(tmp_path)
    write(tmp_path, {"another": "left", "drawn": "back"})  # ignored
    given = load_given([tmp_path], 32)
    assert middles(given.views) == ALL
    assert given.views.shape == (4, 32, 32, 3)
    assert given.has_front


def test_a_folder_with_other_names_is_read_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, {"4": "left", "1": "front", "3": "back", "2": "right"})
    (tmp_path / "notes.txt").write_text("no image")
    assert middles(load_given([tmp_path], 32).views) == ALL


def test_images_keep_the_given_order(tmp_path: Path) -> None:
    paths = write(tmp_path, {"z": "front", "c": "right", "y": "back", "a": "left"})
    assert middles(load_given([str(paths[0]), *paths[1:]], 32).views) == ALL


def test_names_that_contradict_the_order_are_refused(tmp_path: Path) -> None:
    paths = {path.stem: path for path in faces(tmp_path)}
    with pytest.raises(InputError, match="expected in the order front right back left, got left front right back"):
        load_given([paths["left"], str(paths["front"]), paths["right"], paths["back"]], 32)


def test_names_ignore_case_and_a_missing_view_is_named(tmp_path: Path) -> None:
    for path in faces(tmp_path):
        path.rename(path.with_stem(path.stem.capitalize()))
    assert middles(load_given([tmp_path], 32).views) == ALL
    (tmp_path / "Left.png").unlink()
    with pytest.raises(InputError, match="has back, front, right, but no left"):
        load_given([tmp_path], 32)


@pytest.mark.parametrize("as_folder", [True, False])
def test_three_images_leave_the_front_white(tmp_path: Path, as_folder: bool) -> None:
    names = {name: name for name in VIEW_NAMES[1:]}
    paths = write(tmp_path, names, width=32, height=40, margin=9)
    given = load_given([tmp_path] if as_folder else paths, 40)
    assert not given.has_front
    assert bool((given.views[0] == 1).all())
    assert middles(given.views[1:]) == ALL[1:]
    assert given.box == pytest.approx((0.5, 9 / 40, 0.5, 31 / 40))


def test_the_box_without_a_front_has_the_mean_rows_of_the_others(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, margin in zip(paths, (4, 8, 12), strict=True):
        Image.fromarray(block(COLORS["back"], margin=margin)).save(path)
    assert load_given(paths, 32).box == pytest.approx((0.5, 8 / 32, 0.5, 24 / 32))


def test_the_box_is_that_of_the_front_view(tmp_path: Path) -> None:
    paths = faces(tmp_path)
    image = np.full((32, 32, 3), 255, np.uint8)
    image[4:20, 6:30] = COLORS["front"]
    Image.fromarray(image).save(paths[0])
    assert load_given(paths, 32).box == pytest.approx((6 / 32, 4 / 32, 30 / 32, 20 / 32))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("as_folder", [True, False])
def test_other_numbers_of_images_are_refused(tmp_path: Path, count: int, as_folder: bool) -> None:
    paths = write(tmp_path, {f"p{i}": "front" for i in range(count)})
    with pytest.raises(InputError, match=r"views: expected 4 images \(front right back left\), or 3 without the front; got ") as raised:
        load_given([tmp_path] if as_folder else paths, 32)
    assert f"got {count} ({', '.join(path.name for path in paths)})" in str(raised.value)


def test_no_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for paths in ([tmp_path], []):
        with pytest.raises(InputError, match="or 3 without the front; got none"):
            load_given(paths, 32)


def test_many_images_are_not_all_named(tmp_path: Path) -> None:
    write(tmp_path, {f"p{i}": "front" for i in range(9)})
    with pytest.raises(InputError, match=r"got 9 \(p0\.png, p1\.png, p2\.png, p3\.png, p4\.png, p5\.png, \.\.\.\)"):
        load_given([tmp_path], 32)


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    paths = faces(tmp_path)
    Image.fromarray(block(COLORS["back"], width=40)).save(paths[2])
    with pytest.raises(InputError, match=r"different sizes .*front\.png 32x32.*back\.png 40x32.*must have one framing and one size"):
        load_given(paths, 32)


def test_undecodable_images_are_refused(tmp_path: Path) -> None:
    paths = faces(tmp_path)
    paths[1].write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"right\.png: cannot be decoded as an image"):
        load_given([tmp_path], 32)


def test_missing_images_are_refused(tmp_path: Path) -> None:
    paths = faces(tmp_path)
    with pytest.raises(InputError, match=r"nothing\.png: no such file or folder"):
        load_given([*paths[:3], tmp_path / "nothing.png"], 32)


@pytest.mark.parametrize("background", [WHITE, (20, 200, 40), None])
def test_images_without_an_object_are_refused(tmp_path: Path, background: Background) -> None:
    paths = faces(tmp_path)
    empty = np.zeros((32, 32, 4), np.uint8) if background is None else np.full((32, 32, 3), background, np.uint8)
    Image.fromarray(empty).save(paths[3])
    with pytest.raises(InputError, match=r"left\.png: no object found in it; try another matting"):
        load_given(paths, 32)


@pytest.mark.parametrize("background", [WHITE, (20, 200, 40), None])
@pytest.mark.parametrize(("width", "height"), [(20, 32), (32, 20)])
def test_images_that_are_not_square_are_padded(tmp_path: Path, background: Background, width: int, height: int) -> None:
    paths = write(tmp_path, {name: name for name in VIEW_NAMES}, background, width=width, height=height, margin=5)
    given = load_given(paths, 32)
    x, y = (32 - width) // 2, (32 - height) // 2
    expected = torch.ones(32, 32, 3)
    expected[y + 5 : y + height - 5, x + 5 : x + width - 5] = torch.tensor(COLORS["front"]) / 255
    torch.testing.assert_close(given.views[0], expected, atol=1e-6, rtol=0)
    assert given.box == pytest.approx(((x + 5) / 32, (y + 5) / 32, (x + width - 5) / 32, (y + height - 5) / 32))


@pytest.mark.parametrize(("side", "margin"), [(32, 9), (48, 13), (64, 17)])
def test_the_background_makes_no_difference(tmp_path: Path, side: int, margin: int) -> None:
    found = []
    for place, background in enumerate((None, WHITE, (20, 200, 40), (0, 0, 0))):
        paths = write(tmp_path / str(place), dict.fromkeys(VIEW_NAMES[1:], "front"), background, width=side, height=side, margin=margin)
        given = load_given(paths, 32)
        found.append(given.views)
        assert bool(given.notices) == (background is not None)
    for views in found[1:]:
        torch.testing.assert_close(views, found[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("margin", [48, 49])
@pytest.mark.parametrize("background", [WHITE, (20, 200, 40), (0, 0, 0)])
def test_large_images_have_no_fringe_of_their_background(tmp_path: Path, background: Background, margin: int) -> None:
    """The background is removed before resizing, which would mix it into the object's edge."""
    names = dict.fromkeys(VIEW_NAMES[1:], "front")
    expected = load_given(write(tmp_path / "alpha", names, None, width=200, height=200, margin=margin), 32).views
    found = load_given(write(tmp_path / "color", names, background, width=200, height=200, margin=margin), 32).views
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_notices_name_the_removed_background(tmp_path: Path) -> None:
    given = load_given(faces(tmp_path), 32)
    assert len(given.notices) == 4
    assert str(given.notices[1]) == "right.png: uniform background rgb(255, 255, 255) found and removed"


def test_matting_none_takes_the_whole_images(tmp_path: Path) -> None:
    paths = write(tmp_path, {name: name for name in VIEW_NAMES}, (20, 200, 40))
    given = load_given(paths, 32, "none")
    assert given.box == (0, 0, 1, 1)
    torch.testing.assert_close(given.views[0], torch.from_numpy(block(COLORS["front"], (20, 200, 40))).float() / 255)
    with pytest.raises(InputError, match=r"front\.png: has no alpha channel"):
        load_given(paths, 32, "alpha")


def test_views_survive_a_round_trip_through_files(tmp_path: Path) -> None:
    views = torch.ones(4, 32, 32, 3)
    views[:, 8:26, 5:22] = torch.rand(4, 18, 17, 3, generator=torch.Generator().manual_seed(0)) * 0.8
    paths = save_views(views, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["front.png", "right.png", "back.png", "left.png"]
    assert all(path.parent == tmp_path / "new" / "folder" for path in paths)
    for back in (load_given([tmp_path / "new" / "folder"], 32), load_given(paths, 32, "none")):
        torch.testing.assert_close(back.views, views, atol=0.5 / 255 + 1e-6, rtol=0)


def test_jpegs_and_capital_suffixes_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"front": "front", "right": "right"}, suffix=".JPG")
    write(tmp_path, {"back": "back", "left": "left"}, suffix=".webp")
    found = middles(load_given([tmp_path], 32).views)
    assert all(abs(a - b) < 40 for one, two in zip(found, ALL, strict=True) for a, b in zip(one, two, strict=True))
