"""Mattes: which pixels of a picture are the object, by its alpha channel, its background, or a matting network."""

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

from chronosplat.captures.background import cut_out, uniform_background, uniform_note
from chronosplat.shapes import InputError, UnavailableError

MODES = ("auto", "alpha", "uniform", "rembg", "none")
REMBG_MODEL = "isnet-general-use"  # Apache-2.0, sharp edges; rembg:NAME takes another
Session = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Matte:
    """Straight colours [H, W, 3] and alphas [H, W, 1], in [0, 1], of a picture [H, W, 3 or 4] of bytes.

    Attributes:
        kind: alpha, uniform, rembg or none. note: what to tell the user.
        fill: colour of what lies outside the picture.
        slow: whether it costs seconds rather than milliseconds a picture.
        sees_background: whether there is a background that would show a moving camera.
    """

    kind, slow, sees_background = "none", False, True

    def __init__(self, note: str, fill: tuple[int, int, int] = (255, 255, 255)) -> None:
        self.note, self.fill = note, fill

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """The whole picture is the object."""
        images = _unit(picture[..., :3])
        return images, torch.ones_like(images[..., :1])


class AlphaMatte(Matte):
    """The picture's own alpha channel."""

    kind, sees_background = "alpha", False

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """See Matte."""
        return _unit(picture[..., :3]), _unit(picture[..., 3:])


class UniformMatte(Matte):
    """A background of one colour, cut away from the border on."""

    kind, sees_background = "uniform", False

    def __init__(self, note: str, color: Tensor) -> None:
        red, green, blue = (round(255 * float(c)) for c in color)
        super().__init__(note, (red, green, blue))
        self.color = color

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """See Matte."""
        images, alphas = cut_out(_unit(picture[..., :3])[None], self.color)
        return images[0], alphas[0]


class NetworkMatte(Matte):
    """A matting network: ``session`` takes pixels [H, W, 3] to coverage [H, W], both bytes."""

    kind, slow = "rembg", True

    def __init__(self, note: str, session: Session) -> None:
        super().__init__(note)
        self.session = session

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """See Matte."""
        rgb = np.ascontiguousarray(picture[..., :3])
        return _unit(rgb), _unit(self.session(rgb))[..., None]


def choose_matte(mode: str, pictures: list[NDArray[np.uint8]], what: str) -> Matte:
    """The matte for a capture, from some of its pictures.

    Args:
        mode: one of MODES; auto takes alpha where the pictures have it, then a uniform background, then rembg where that is
            installed, then the whole picture. ``rembg:MODEL`` names one of rembg's models.
        what: the capture's name, for notes.

    Raises:
        InputError: an unknown mode, or one that the pictures do not allow.
        UnavailableError: rembg was asked for and is not installed, or its model is not here and cannot be downloaded.
    """
    kind, _, model = mode.partition(":")
    if kind not in MODES or (model and kind != "rembg"):
        raise InputError(f"matting: expected {', '.join(MODES)} or rembg:MODEL; got {mode!r}")
    alpha = all(p.shape[2] == 4 for p in pictures)
    if kind == "alpha" and not alpha:
        raise InputError(f"{what}: has no alpha channel; use --matting auto, uniform or rembg")
    hides = alpha and any(p[..., 3].min() < 255 for p in pictures)  # a channel that hides nothing says nothing
    if kind == "alpha" or (hides and kind == "auto"):
        return AlphaMatte(f"{what}: its alpha channel is used")
    if kind in ("auto", "uniform"):
        color = uniform_background(torch.stack([_unit(_thumbnail(p)) for p in pictures]))
        if color is not None:
            return UniformMatte(uniform_note(what, color), color)
        if kind == "uniform":
            raise InputError(f"{what}: its border is not of one colour; use --matting rembg, or a video with alpha")
    if kind == "rembg" or (kind == "auto" and rembg_missing() is None):
        return NetworkMatte(f"{what}: the object is cut out by rembg's {model or REMBG_MODEL}", rembg_session(model or REMBG_MODEL))
    hint = "" if kind == "none" else "; pip install 'chronosplat[matting]' finds the object in front of any background"
    found = "" if kind == "none" else "no alpha and no uniform background; "
    return Matte(f"{what}: {found}the whole picture is taken as the object{hint}")


def rembg_missing() -> str | None:
    """Why rembg cannot be used, or None."""
    try:
        import_module("rembg")
    except (ImportError, SystemExit) as error:  # it exits where its own back end is missing
        return f"matting: rembg cannot be used ({error}); install it: pip install 'chronosplat[matting]'"
    return None


def rembg_session(model: str) -> Session:
    """A matting network of rembg's, downloaded by rembg on first use.

    Raises:
        InputError: a name that rembg does not know.
        UnavailableError: not installed, or the model is not here and cannot be downloaded.
    """
    why = rembg_missing()
    if why:
        raise UnavailableError(why)
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

    def run(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(rembg.remove(picture, session=session, only_mask=True), dtype=np.uint8)

    return run


def _unit(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels)).float() / 255


def _thumbnail(picture: NDArray[np.uint8], side: int = 64) -> NDArray[np.uint8]:
    """Every so manieth pixel, the border's among them."""
    rows, columns = (np.linspace(0, n - 1, side).round().astype(int) for n in picture.shape[:2])
    return picture[rows][:, columns, :3]
