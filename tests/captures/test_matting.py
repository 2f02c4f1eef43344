"""Mattes: alpha channels, uniform backgrounds, and a matting network that may be missing."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from chronosplat import InputError
from chronosplat.captures.background import border_pixels, reached_from_border, remove_background, uniform_background, uniform_notice
from chronosplat.captures.matting import MODES, REMBG_MODEL, choose_matte, rembg_missing, rembg_session
from chronosplat.shapes import UnavailableError
from tests.scene_kit import law, seeds

Pixels = NDArray[np.uint8]
MODELS = ["isnet-general-use", "u2net", "birefnet-general"]


class Network:
    """Stands in for rembg: what is red is the object. ``error``: what its download raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.made: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def new_session(self, name: str) -> str:
        if self.error is not None:
            raise self.error
        self.made.append(name)
        return f"session of {name}"

    def remove(self, picture: Pixels, *, session: str, only_mask: bool) -> Pixels:
        assert session == f"session of {self.made[-1]}"
        assert only_mask
        assert picture.flags.c_contiguous
        self.shapes.append(picture.shape)
        return np.where(picture[..., 0].astype(int) - picture[..., 1] > 60, np.uint8(204), np.uint8(0))


def install(monkeypatch: pytest.MonkeyPatch, network: Network) -> Network:
    """Install the fake rembg."""
    rembg: Any = ModuleType("rembg")
    sessions: Any = ModuleType("rembg.sessions")
    rembg.new_session, rembg.remove, rembg.sessions, sessions.sessions_names = network.new_session, network.remove, sessions, MODELS
    monkeypatch.setitem(sys.modules, "rembg", rembg)
    monkeypatch.setitem(sys.modules, "rembg.sessions", sessions)
    return network


@pytest.fixture
def no_rembg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)


def on_color(color: tuple[int, int, int] = (250, 240, 230), side: int = 40) -> Pixels:
    """A red square on one colour, with that colour in its middle."""
    picture = np.empty((side, side + 8, 3), np.uint8)
    picture[:] = color
    picture[10:30, 12:32] = (200, 20, 20)
    picture[18:22, 20:24] = color
    return picture


def on_noise(seed: int = 0, side: int = 40) -> Pixels:
    """The same on noise of green and blue."""
    picture = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3)).astype(np.uint8)
    picture[..., 0] = picture[..., 1]
    picture[10:30, 12:32] = (200, 20, 20)
    return picture


def with_alpha(picture: Pixels, alpha: int | Pixels) -> Pixels:
    return np.concatenate([picture, np.broadcast_to(np.uint8(alpha), picture.shape[:2])[..., None]], 2)


def slowly_reached(open_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Growing pixel by pixel from the border."""
    height, width = open_.shape
    reached = np.zeros_like(open_)
    border = [(y, x) for y in range(height) for x in range(width) if y in (0, height - 1) or x in (0, width - 1)]
    queue = deque((y, x) for y, x in border if open_[y, x])
    while queue:
        y, x = queue.popleft()
        if 0 <= y < height and 0 <= x < width and open_[y, x] and not reached[y, x]:
            reached[y, x] = True
            queue.extend([(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)])
    return reached


@law
@given(seeds(), st.integers(1, 24), st.integers(1, 24), st.floats(0.0, 1.0))
def test_the_border_reaches_what_it_reaches_pixel_by_pixel(seed: int, height: int, width: int, share: float) -> None:
    open_ = np.random.default_rng(seed).random((height, width)) < share
    before = open_.copy()
    np.testing.assert_array_equal(reached_from_border(open_), slowly_reached(open_))
    np.testing.assert_array_equal(open_, before)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_border_reaches_through_long_ways(turns: int) -> None:
    snake = np.zeros((21, 31), bool)
    snake[1:-1:2, 1:-1] = True  # corridors, joined at their right and left ends in turns
    snake[2:-1:4, -2] = snake[4:-1:4, 1] = True
    assert not reached_from_border(np.rot90(snake, turns)).any()
    snake[0, 1] = True  # the way in
    np.testing.assert_array_equal(reached_from_border(np.rot90(snake, turns)), np.rot90(snake, turns))


def test_a_diagonal_gap_lets_nothing_through() -> None:
    open_ = np.ones((7, 7), bool)
    open_[2:5, 2:5] = False
    open_[3, 3] = True
    open_[2, 2] = True  # touches the middle by a corner only
    reached = reached_from_border(open_)
    assert reached[2, 2]
    assert not reached[3, 3]
    open_[2, 3] = True
    assert reached_from_border(open_)[3, 3]


def test_enclosed_background_colour_stays_opaque_and_what_is_open_goes() -> None:
    pictures = torch.from_numpy(np.stack([on_color(), on_color()])).float() / 255
    pictures[1, 19:21, 24:] = pictures[1, 0, 0]  # the second one's middle is open to the right
    color = uniform_background(border_pixels(picture) for picture in pictures)
    assert color is not None
    straight, alphas = remove_background(pictures, color)
    assert alphas.shape == (2, 40, 48, 1)
    assert alphas.unique().tolist() == [0, 1]
    assert alphas.sum((1, 2, 3)).tolist() == [400, 400 - 16 - 16]
    torch.testing.assert_close(straight * alphas + (1 - alphas) * color, pictures)


def test_soft_edges_give_the_image_again_on_their_background() -> None:
    color = torch.tensor([0.9, 0.8, 0.1])
    coverage = torch.linspace(0, 1, 33)[None, None, :, None].expand(1, 20, 33, 1)
    picture = coverage * torch.tensor([0.1, 0.4, 0.6]) + (1 - coverage) * color
    straight, alphas = remove_background(picture, color)
    torch.testing.assert_close(straight * alphas + (1 - alphas) * color, picture, atol=0.03, rtol=0)
    assert bool((alphas.diff(dim=2) >= 0).all())
    assert float(alphas[0, 0, 0]) == 0
    assert float(alphas[0, 0, -1]) == 1
    assert bool((straight[(alphas == 0)[..., 0]] == 0).all())


@pytest.mark.parametrize(("columns", "found"), [(0, True), (2, True), (8, False)])
def test_nearly_the_whole_border_must_be_of_one_colour(columns: int, found: bool) -> None:
    pictures = torch.full((3, 32, 32, 3), 0.2)
    pictures[:, :, 10 : 10 + columns] = 0.9
    color = uniform_background(border_pixels(picture) for picture in pictures)
    assert (color is not None) == found
    if color is not None:
        torch.testing.assert_close(color, torch.full((3,), 0.2))
        assert "uniform background rgb(51, 51, 51)" in uniform_notice("a", color).text
        images, alphas = remove_background(pictures, color)
        assert float(alphas.mean()) == pytest.approx(columns / 32)
        assert images.shape == pictures.shape


@pytest.mark.parametrize("mode", ["", "Auto", "net", "alpha:u2net", "none:x", ":u2net"])
def test_unknown_modes_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match=r"matting: expected auto, alpha, uniform, rembg, none or rembg:MODEL; got '"):
        choose_matte(mode, [on_color()], "a")


@pytest.mark.parametrize("mode", ["auto", "alpha"])
def test_an_alpha_channel_is_taken(mode: str) -> None:
    picture = with_alpha(on_noise(), np.arange(40 * 48, dtype=np.int64).reshape(40, 48).astype(np.uint8))
    matte = choose_matte(mode, [picture, picture], "a.mov")
    assert (matte.kind, matte.slow, matte.sees_background) == ("alpha", False, False)
    assert str(matte.notice) == "a.mov: its alpha channel is used"
    images, alphas = matte(picture)
    torch.testing.assert_close(images, torch.from_numpy(picture[..., :3]).float() / 255)
    torch.testing.assert_close(alphas, torch.from_numpy(picture[..., 3:]).float() / 255)


def test_alpha_without_alpha_is_refused() -> None:
    for pictures in ([on_color()], [with_alpha(on_color(), 9), on_color()]):
        with pytest.raises(InputError, match=r"a\.mov: has no alpha channel; use matting=auto"):
            choose_matte("alpha", pictures, "a.mov")


def test_an_alpha_channel_that_hides_nothing_is_no_matte() -> None:
    """GIFs and many MOVs have an alpha channel that is opaque everywhere; the background is what counts."""
    matte = choose_matte("auto", [with_alpha(on_color(), 255)] * 3, "a.gif")
    assert matte.kind == "uniform"
    assert float(matte(with_alpha(on_color(), 255))[1].sum()) == 400


@pytest.mark.parametrize("mode", ["auto", "uniform"])
def test_a_uniform_background_is_removed(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    network = install(monkeypatch, Network())
    matte = choose_matte(mode, [on_color()] * 3, "a.mp4")
    assert (matte.kind, matte.slow, matte.sees_background) == ("uniform", False, False)
    assert str(matte.notice) == "a.mp4: uniform background rgb(250, 240, 230) found and removed"
    assert matte.fill == (250, 240, 230)
    images, alphas = matte(on_color())
    assert images.shape == (40, 48, 3)
    assert float(alphas.sum()) == 400
    torch.testing.assert_close(images[12, 14], torch.tensor([200.0, 20, 20]) / 255)
    assert network.made == []


def test_uniform_takes_the_colours_of_images_with_alpha() -> None:
    matte = choose_matte("uniform", [with_alpha(on_color(), 7)] * 2, "a")
    assert matte.kind == "uniform"
    assert float(matte(with_alpha(on_color(), 7))[1].sum()) == 400


def test_uniform_without_a_uniform_background_is_refused() -> None:
    with pytest.raises(InputError, match=r"a\.mp4: its border is not of one colour; use matting=rembg, or a video with alpha"):
        choose_matte("uniform", [on_noise(0), on_noise(1)], "a.mp4")


@pytest.mark.parametrize("pictures", [[on_noise(0), on_noise(1)], [on_color()], [with_alpha(on_color(), 3)]])
def test_none_takes_the_whole_image(pictures: list[Pixels]) -> None:
    matte = choose_matte("none", pictures, "a.mp4")
    assert (matte.kind, matte.slow, matte.sees_background) == ("none", False, True)
    assert str(matte.notice) == "a.mp4: the whole image is taken as the object"
    images, alphas = matte(pictures[0])
    assert images.shape == (40, 48, 3)
    assert bool((alphas == 1).all())


@pytest.mark.usefixtures("no_rembg")
def test_auto_falls_back_with_a_hint() -> None:
    matte = choose_matte("auto", [on_noise(0), on_noise(1)], "a.mp4")
    assert matte.kind == "none"
    assert "no alpha and no uniform background; the whole image is taken as the object" in str(matte.notice)
    assert "pip install 'chronosplat[matting]'" in str(matte.notice)


@pytest.mark.parametrize(
    ("mode", "model"), [("auto", REMBG_MODEL), ("rembg", REMBG_MODEL), ("rembg:u2net", "u2net"), ("rembg:", REMBG_MODEL)]
)
def test_rembg_cuts_the_object_out(monkeypatch: pytest.MonkeyPatch, mode: str, model: str) -> None:
    network = install(monkeypatch, Network())
    assert rembg_missing() is None
    matte = choose_matte(mode, [on_noise(0), on_noise(1)], "a.mp4")
    assert (matte.kind, matte.slow, matte.sees_background) == ("rembg", True, True)
    assert str(matte.notice) == f"a.mp4: rembg's {model} removes the background"
    assert network.made == [model]
    images, alphas = matte(on_noise(2))
    torch.testing.assert_close(images, torch.from_numpy(on_noise(2)).float() / 255)
    expected = torch.zeros(40, 48, 1)
    expected[10:30, 12:32] = 0.8
    torch.testing.assert_close(alphas, expected)
    assert matte(with_alpha(on_noise(2), 9))[1].shape == (40, 48, 1)
    assert network.shapes == [(40, 48, 3)] * 2
    assert network.made == [model]  # one session for all images


def test_rembg_wins_over_alpha_and_a_uniform_background_if_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Network())
    assert choose_matte("rembg", [with_alpha(on_color(), 3)], "a").kind == "rembg"
    assert set(MODES) == {"auto", "alpha", "uniform", "rembg", "none"}


def test_models_that_rembg_does_not_know_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = install(monkeypatch, Network())
    with pytest.raises(InputError, match="rembg has no model 'nonet'; it has birefnet-general, isnet-general-use, u2net"):
        choose_matte("rembg:nonet", [on_noise()], "a")
    assert network.made == []


@pytest.mark.usefixtures("no_rembg")
def test_rembg_that_is_not_installed_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"rembg cannot be used .*pip install 'chronosplat\[matting\]'"):
        choose_matte("rembg", [on_noise()], "a")
    with pytest.raises(UnavailableError, match="rembg cannot be used"):
        rembg_session(REMBG_MODEL)


def test_rembg_that_exits_on_import_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rembg.py").write_text("import sys\nsys.exit(1)\n")
    monkeypatch.delitem(sys.modules, "rembg", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnavailableError, match="rembg cannot be used"):
        choose_matte("rembg", [on_noise()], "a")
    assert choose_matte("auto", [on_noise(0), on_noise(1)], "a").kind == "none"


@pytest.mark.parametrize("error", [ConnectionError("no route\nto host"), OSError(), ValueError("hash of file does not match")])
def test_models_that_cannot_be_downloaded_are_unavailable(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    install(monkeypatch, Network(error))
    with pytest.raises(UnavailableError) as raised:
        choose_matte("rembg:u2net", [on_noise()], "a")
    message = str(raised.value)
    assert "rembg's model u2net.onnx is not on this machine and cannot be downloaded" in message
    assert (str(error) or repr(error)).splitlines()[0] in message
    assert "\n" not in message
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("places", "home"),
    [
        ({}, "~/.rembg"),
        ({"REMBG_HOME": "/data/nets"}, "/data/nets"),
        ({"U2NET_HOME": "/data/old"}, "/data/old"),
        ({"U2NET_HOME": "/data/old", "REMBG_HOME": "/data/nets"}, "/data/old"),
        ({"XDG_DATA_HOME": "/data/share"}, "/data/share/rembg"),
    ],
    ids=["usual", "rembg", "u2net", "both", "xdg"],
)
def test_where_a_model_goes_is_reported(monkeypatch: pytest.MonkeyPatch, places: dict[str, str], home: str) -> None:
    """Where rembg 2.0.86 looks: U2NET_HOME comes before REMBG_HOME, which comes before XDG_DATA_HOME."""
    install(monkeypatch, Network(ConnectionError("no route")))
    for name in ("REMBG_HOME", "U2NET_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, place in places.items():
        monkeypatch.setenv(name, place)
    with pytest.raises(UnavailableError) as raised:
        choose_matte("rembg", [on_noise()], "a")
    assert f"put it at {Path(home).expanduser()}/models/{REMBG_MODEL}/{REMBG_MODEL}.onnx" in str(raised.value)
