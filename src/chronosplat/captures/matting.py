"""Matting: separate the object by the alpha channel, a uniform background, or a matting network."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chronosplat.captures.background import border_pixels, remove_background, uniform_background, uniform_notice
from chronosplat.events import Notice, info
from chronosplat.shapes import InputError, UnavailableError

MODES = ("auto", "alpha", "uniform", "rembg", "none")
REMBG_MODEL = "isnet-general-use"  # Apache-2.0, sharp edges; rembg:NAME takes another
Session = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Matte:
    """The whole image as the object; the base of all mattes.

    Attributes:
        kind: alpha, uniform, rembg or none. notice: what was detected. fill: colour outside the image.
        slow: takes seconds per image, not milliseconds. sees_background: the background stays visible and shows camera motion.
    """

    kind, slow, sees_background = "none", False, True

    def __init__(self, notice: Notice, fill: tuple[int, int, int] = (255, 255, 255)) -> None:
        self.notice, self.fill = notice, fill

    def __call__(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Matte an image [H, W, 3 or 4] of uint8: straight colours [H, W, 3] and alphas [H, W, 1], in [0, 1]."""
        colors = _unit(image[..., :3])
        return colors, torch.ones_like(colors[..., :1])


class AlphaMatte(Matte):
    """The image's own alpha channel."""

    kind, sees_background = "alpha", False

    def __call__(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        return _unit(image[..., :3]), _unit(image[..., 3:])


class UniformMatte(Matte):
    """Removal of a background of one colour, from the border inwards."""

    kind, sees_background = "uniform", False

    def __init__(self, notice: Notice, color: Tensor) -> None:
        red, green, blue = (round(255 * float(c)) for c in color)
        super().__init__(notice, (red, green, blue))
        self.color = color

    def __call__(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        colors, alphas = remove_background(_unit(image[..., :3])[None], self.color)
        return colors[0], alphas[0]


class NetworkMatte(Matte):
    """A matting network; ``session`` maps pixels [H, W, 3] to alpha [H, W], both uint8."""

    kind, slow = "rembg", True

    def __init__(self, notice: Notice, session: Session) -> None:
        super().__init__(notice)
        self.session = session

    def __call__(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        rgb = np.ascontiguousarray(image[..., :3])
        return _unit(rgb), _unit(self.session(rgb))[..., None]


def choose_matte(mode: str, images: list[NDArray[np.uint8]], what: str) -> Matte:
    """Choose the matte of a capture from some of its images.

    Args:
        mode: one of MODES. auto tries the alpha channel, a uniform background, rembg if installed, then takes the whole image.
            ``rembg:MODEL`` names one of rembg's models.
        what: the capture's name, for notices.

    Raises:
        InputError: unknown mode, or one that does not fit the images.
        UnavailableError: rembg is requested and not installed, or its model is neither cached nor downloadable.
    """
    kind, _, model = mode.partition(":")
    if kind not in MODES or (model and kind != "rembg"):
        raise InputError(f"matting: expected {', '.join(MODES)} or rembg:MODEL; got {mode!r}")
    alpha = all(image.shape[2] == 4 for image in images)
    if kind == "alpha" and not alpha:
        raise InputError(f"{what}: has no alpha channel", "use {matting} (or uniform, rembg)", matting="auto")
    transparent = alpha and any(image[..., 3].min() < 255 for image in images)  # an opaque channel carries no information
    if kind == "alpha" or (transparent and kind == "auto"):
        return AlphaMatte(info("alpha", f"{what}: its alpha channel is used"))
    if kind in ("auto", "uniform"):
        color = uniform_background(border_pixels(_unit(_thumbnail(image))) for image in images)
        if color is not None:
            return UniformMatte(uniform_notice(what, color), color)
        if kind == "uniform":
            raise InputError(f"{what}: its border is not of one colour", "use {matting}, or a video with alpha", matting="rembg")
    if kind == "rembg" or (kind == "auto" and rembg_missing() is None):
        name = model or REMBG_MODEL
        return NetworkMatte(info("rembg", f"{what}: rembg's {name} removes the background"), rembg_session(name))
    whole = "the whole image is taken as the object"
    if kind == "none":
        return Matte(info("no-mask", f"{what}: {whole}"))
    install = "pip install 'chronosplat[matting]' removes any background"
    return Matte(info("no-mask", f"{what}: no alpha and no uniform background; {whole}", install))


def rembg_missing() -> str | None:
    """Return why rembg cannot be used, or None."""
    try:
        import_module("rembg")
    except (ImportError, SystemExit) as error:  # it exits if onnxruntime is missing
        return f"matting: rembg cannot be used ({error}); install it: pip install 'chronosplat[matting]'"
    return None


def rembg_session(model: str) -> Session:
    """Load one of rembg's networks; rembg downloads it on first use.

    Raises:
        InputError: unknown model name.
        UnavailableError: rembg is not installed, or the model is neither cached nor downloadable.
    """
    if problem := rembg_missing():
        raise UnavailableError(problem)
    import rembg  # pyright: ignore[reportMissingImports]
    from rembg.sessions import sessions_names  # pyright: ignore[reportMissingImports]

    if model not in sessions_names:
        raise InputError(f"matting: rembg has no model {model!r}; it has {', '.join(sorted(sessions_names))}")
    shared = os.environ.get("XDG_DATA_HOME")
    usual = Path(shared) / "rembg" if shared else Path.home() / ".rembg"
    home = Path(os.environ.get("U2NET_HOME") or os.environ.get("REMBG_HOME") or usual)
    try:
        session: Any = rembg.new_session(model)
    except Exception as error:  # whatever its downloader raises
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise UnavailableError(
            f"matting: rembg's model {model}.onnx is not on this machine and cannot be downloaded ({first}); put it at "
            f"{home / 'models' / model / model}.onnx, or give a video with alpha or a uniform background"
        ) from error

    return lambda image: np.asarray(rembg.remove(image, session=session, only_mask=True), dtype=np.uint8)


def _unit(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels)).float() / 255


def _thumbnail(image: NDArray[np.uint8], side: int = 64) -> NDArray[np.uint8]:
    """Subsample on a grid that includes the border."""
    rows, columns = (np.linspace(0, n - 1, side).round().astype(int) for n in image.shape[:2])
    return image[rows][:, columns, :3]
