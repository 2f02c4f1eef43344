"""Captures as transforms JSON, in the nerfstudio and the Blender / D-NeRF format, with times.

Poses are camera-to-world with OpenGL axes in a +Z-up world. ``time`` runs in [0, 1] and is multiplied by ``duration``
(seconds, default 1); ``timestamp`` is in seconds. Intrinsics come from ``fl_x`` etc., else from ``camera_angle_x``; each
frame may have its own. Frames are selected before any image is decoded, and each image is resized as it is decoded, so
that memory holds the result and one image.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures.background import border_pixels, remove_background, uniform_background, uniform_notice
from chronosplat.captures.object_image import has_alpha, opened_image
from chronosplat.captures.registry import Described, layouts
from chronosplat.captures.views import Views, collected, resize_premultiplied
from chronosplat.events import Notice, info
from chronosplat.shapes import InputError

SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
RIGID_TOLERANCE = 1e-3
Json = dict[str, Any]
Size = tuple[int, int]  # width, height


def find_json(folder: Path, split: str) -> Path:
    """Find a folder's transforms file: ``transforms_SPLIT.json``, else ``transforms.json``.

    Raises:
        InputError: neither exists.
    """
    path = transforms_file(folder, split)
    if path is None:
        raise InputError(f"{folder}: no capture in it; expected transforms_{split}.json or transforms.json, or give a video file")
    return path


def transforms_file(folder: Path, split: str) -> Path | None:
    """Return a folder's transforms file of a split, if it has one."""
    return next((folder / name for name in (f"transforms_{split}.json", "transforms.json") if (folder / name).is_file()), None)


def has_split(path: Path, split: str) -> bool:
    """Whether a capture has a split: a transforms file, nerfstudio's list of file names, or what its layout says."""
    if path.is_dir() and transforms_file(path, split) is None:
        return any(split in layout.splits(path) for layout in layouts())
    if path.is_dir() and (path / f"transforms_{split}.json").is_file():
        return True
    common = path / "transforms.json" if path.is_dir() else path
    return common.is_file() and bool(_read_json(common).get(f"{split}_filenames"))


def load_transforms(
    path: Path, split: str, choose: Callable[[int], list[int]] | None = None, resize: Callable[[Size], Size] | None = None
) -> Views:
    """Load a transforms file; see :func:`load_described`."""
    return load_described(Described(_read_json(path), path), split, choose, resize)


def load_described(
    capture: Described, split: str, choose: Callable[[int], list[int]] | None = None, resize: Callable[[Size], Size] | None = None
) -> Views:
    """Load a capture from its description.

    Args:
        choose: maps the number of frames to the indices to read; None reads all.
        resize: maps the images' size to the output size; None keeps it.

    Raises:
        InputError: invalid JSON, no frames, missing or non-rigid poses, invalid numbers, missing or non-positive intrinsics, or
            images that are missing, undecodable or of different sizes.
    """
    path, meta = capture.path, capture.meta
    every = _frames_of_split(path, meta, split)
    chosen = range(len(every)) if choose is None else choose(len(every))
    frames = {index: every[index] for index in chosen}
    files = {index: _image_file(path, index, frame) for index, frame in frames.items()}
    poses = torch.tensor(np.stack([_pose(path, index, frame) for index, frame in frames.items()]))
    notices = list(capture.notices)
    times = _times(path, meta, frames, notices)
    if any(frame.get(k, meta.get(k)) for frame in frames.values() for k in DISTORTION):
        notices.append(info("distortion-ignored", f"{path.name}: lens distortion is ignored; undistort the images for exact results"))
    reader = _ImageReader(path, frames, files)
    notices += reader.notices
    new = reader.size if resize is None else resize(reader.size)
    pixels = collected((reader.read(index, new) for index in frames), torch.empty(len(frames), new[1], new[0], 4, dtype=torch.uint8))
    Ks = torch.stack([_intrinsics(path, index, meta, frame, *reader.size) for index, frame in frames.items()])
    cameras = Cameras.from_opengl_c2w(poses, Ks, *reader.size).to(dtype=torch.float32).resized(*new)
    up = None if capture.up is None else torch.tensor(capture.up)
    return Views(pixels=pixels, cameras=cameras, times=times, up=up, notices=tuple(notices))


def load_cameras(path: Path, split: str = "train") -> tuple[Cameras, Tensor | None]:
    """Load the cameras of a capture without its images, which need not exist where the file has the images' size.

    Args:
        path: a folder, or a transforms JSON.

    Returns:
        F cameras, float64, and times [F] in seconds; None for a static capture.

    Raises:
        InputError: as for :func:`load_transforms`.
    """
    path = find_json(path, split) if path.is_dir() else path
    meta = _read_json(path)
    frames = dict(enumerate(_frames_of_split(path, meta, split)))
    notices: list[Notice] = []
    times = _times(path, meta, frames, notices)
    width, height = _stated_size(path, meta, frames[0])
    poses = torch.tensor(np.stack([_pose(path, index, frame) for index, frame in frames.items()]))
    Ks = torch.stack([_intrinsics(path, index, meta, frame, width, height) for index, frame in frames.items()])
    return Cameras.from_opengl_c2w(poses, Ks, width, height), None if notices else times


def _stated_size(path: Path, meta: Json, frame: Json) -> Size:
    """The size that the file states, else that of its first image."""
    stated = [frame.get(name, meta.get(name)) for name in ("w", "h")]
    if None in stated:
        with opened_image(_image_file(path, 0, frame)) as image:
            return image.size
    width, height = (round(_number(path, "frame 0: ", name, value)) for name, value in zip("wh", stated, strict=True))
    return width, height


class _ImageReader:
    """Decodes a capture's images one by one; a first pass finds their size, and the background if they have no alpha."""

    def __init__(self, path: Path, frames: Mapping[int, Json], files: Mapping[int, Path]) -> None:
        self.path, self.frames, self.files = path, frames, files
        self.color: Tensor | None = None
        self.notices: list[Notice] = []
        self.opaque = not all(self._has_alpha(index) for index in frames)
        borders: list[Tensor] = []
        sizes: set[Size] = set()
        for index, file in files.items():
            if self.opaque:
                pixels = torch.from_numpy(self._decode(index))
                sizes.add((pixels.shape[1], pixels.shape[0]))
                borders.append(border_pixels(pixels[..., :3]).float() / 255)
            else:
                with opened_image(file) as image:
                    sizes.add(image.size)
        if len(sizes) > 1:
            listed = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
            raise InputError(f"{path}: images of different sizes ({listed}); make them one size, or split the capture")
        self.size = sizes.pop()
        if self.opaque:
            self.color = uniform_background(borders)
            whole = f"{path.name}: no alpha and no uniform background; the whole image is taken as the object"
            self.notices.append(info("no-mask", whole) if self.color is None else uniform_notice(path.name, self.color))

    def read(self, index: int, size: Size) -> tuple[Tensor, Tensor]:
        """Read a frame's straight colours [1, H, W, 3] and alphas [1, H, W, 1] at a size (width, height)."""
        rgba = torch.from_numpy(self._decode(index))[None].float().div_(255)  # one copy, changed in place: images may be large
        if self.opaque and self.color is not None:
            rgba[..., :3], rgba[..., 3:] = remove_background(rgba[..., :3], self.color)
        elif self.opaque:
            rgba[..., 3] = 1
        if size == self.size:
            return rgba[..., :3], rgba[..., 3:]
        rgba[..., :3] *= rgba[..., 3:]
        return resize_premultiplied(rgba, *size)

    def _has_alpha(self, index: int) -> bool:
        with opened_image(self.files[index]) as image:
            return bool(self.frames[index].get("mask_path")) or has_alpha(image)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """Decode a frame as [H, W, 4]."""
        with opened_image(self.files[index]) as image:
            pixels = np.array(image.convert("RGBA"))
        if mask_path := self.frames[index].get("mask_path"):
            with opened_image(_resolve(self.path, str(mask_path))) as image:
                pixels[..., 3] = np.asarray(image.convert("L").resize(pixels.shape[1::-1]))
        return pixels


def _read_json(path: Path) -> Json:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list):
        raise InputError(f"{path}: not a capture; expected an object with a list of frames, as nerfstudio and Blender write it")
    return meta


def _frames_of_split(path: Path, meta: Json, split: str) -> list[Json]:
    frames = meta["frames"]
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise InputError(f"{path}: frame {index}: expected an object, got {json.dumps(frame)[:60]}")
    if chosen := meta.get(f"{split}_filenames"):  # nerfstudio's splits
        if not isinstance(chosen, list):
            raise InputError(f"{path}: {split}_filenames: expected a list, got {json.dumps(chosen)[:60]}")
        frames = [f for f in frames if f.get("file_path") in chosen]
    if not frames:
        raise InputError(f"{path}: has no frames in split {split!r}")
    return frames


def _number(path: Path, where: str, name: str, value: Any) -> float:
    """Check that a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{path}: {where}{name}: expected a number, got {json.dumps(value)[:60]}")
    return float(value)


def _pose(path: Path, index: int, frame: Json) -> np.ndarray:
    if "transform_matrix" not in frame:
        raise InputError(f"{path}: frame {index} has no pose (transform_matrix)")
    try:
        pose = np.array(frame["transform_matrix"], np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: frame {index}: transform_matrix is not a matrix of numbers") from error
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0, 0, 0, 1]])
    if pose.shape != (4, 4):
        raise InputError(f"{path}: frame {index}: transform_matrix has shape {list(pose.shape)}, expected [4, 4]")
    rotation = pose[:3, :3]
    error = np.abs(rotation @ rotation.T - np.eye(3)).max() if np.isfinite(pose).all() else np.inf
    if not error < RIGID_TOLERANCE or np.linalg.det(rotation) < 0 or np.abs(pose[3] - [0, 0, 0, 1]).max() > RIGID_TOLERANCE:
        raise InputError(f"{path}: frame {index}: its pose is not a rigid transform (scaled, sheared, mirrored or not finite)")
    return pose


def _intrinsics(path: Path, index: int, meta: Json, frame: Json, width: int, height: int) -> Tensor:
    where = f"frame {index}: "

    def value(*names: str) -> float | None:
        found = next(((n, source[n]) for source in (frame, meta) for n in names if n in source), None)
        return None if found is None else _number(path, where, *found)

    def focal_of(angle: float | None, pixels: float) -> float | None:
        return None if angle is None else 0.5 * pixels / math.tan(angle / 2) if 0 < angle < math.pi else -1.0

    w, h = value("w") or width, value("h") or height  # intrinsics are for this size; the images may have been resized
    fx = value("fl_x", "fx") or focal_of(value("camera_angle_x"), w)
    fy = value("fl_y", "fy") or focal_of(value("camera_angle_y"), h) or fx
    fx = fx or fy
    if fx is None or fy is None:
        raise InputError(f"{path}: frame {index} has no intrinsics (fl_x, or camera_angle_x)")
    if not (fx > 0 and fy > 0 and w > 0 and h > 0):
        raise InputError(f"{path}: {where}its focal length or size is not positive ({fx:g}, {fy:g} at {w:g}x{h:g})")
    cx, cy = value("cx"), value("cy")
    K = torch.tensor([[fx, 0, w / 2 if cx is None else cx], [0, fy, h / 2 if cy is None else cy], [0, 0, 1]], dtype=torch.float64)
    return torch.diag(torch.tensor([width / w, height / h, 1.0], dtype=torch.float64)) @ K


def _times(path: Path, meta: Json, frames: Mapping[int, Json], notices: list[Notice]) -> Tensor:
    name = "timestamp" if all("timestamp" in f for f in frames.values()) else "time"
    given = [_number(path, f"frame {i}: ", name, f[name]) for i, f in frames.items() if f.get(name) is not None or name == "timestamp"]
    if len(given) < len(frames):
        if given:
            raise InputError(f"{path}: only some frames have a time; give all of them one, or none for a static capture")
        notices.append(info("static-capture", f"{path.name}: no times, so the capture is taken as static"))
        return torch.zeros(len(frames), dtype=torch.float64)
    duration = _number(path, "", "duration", meta.get("duration", 1.0)) if name == "time" else 1.0
    return torch.tensor(given, dtype=torch.float64) * duration


def _image_file(path: Path, index: int, frame: Json) -> Path:
    name = frame.get("file_path", frame.get("image_path"))
    if not name or not isinstance(name, str):
        raise InputError(f"{path}: frame {index} names no image (file_path)")
    return _resolve(path, name)


def _resolve(path: Path, name: str) -> Path:
    base = path.parent / name
    for suffix in SUFFIXES:
        candidate = base.with_name(base.name + suffix)
        if candidate.is_file():
            return candidate
    raise InputError(f"{path}: image {name} is missing beside it")


def save_transforms(views: Views, folder: Path, split: str = "train") -> None:
    """Write views in the D-NeRF format: RGBA PNGs and ``transforms_SPLIT.json`` (see :func:`transforms_json`)."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    names = [f"r_{i:04d}" for i in range(len(views))]
    for i, name in enumerate(names):
        Image.fromarray(views[i : i + 1].rgba8()[0].numpy()).save(folder / split / f"{name}.png")
    meta = transforms_json(views, [f"./{split}/{name}" for name in names])
    (folder / f"transforms_{split}.json").write_text(json.dumps(meta, indent=1))


def transforms_json(views: Views, files: Sequence[str] = (), exposure: tuple[Tensor, Tensor] | None = None) -> Json:
    """Convert views to transforms JSON, in the D-NeRF format with nerfstudio's intrinsics.

    The world is rotated to +Z up. ``time`` is in [0, 1], as in D-NeRF; ``timestamp`` is in seconds, so that splits with
    different spans share one clock. Intrinsics are global if all frames share them, else per frame.

    Args:
        files: the images' paths. exposure: gains and offsets [F, 3] of the views' colours.
    """
    turn = torch.eye(4, dtype=torch.float64)
    if views.up is not None and float(views.up[1]) > 0.9:
        turn[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)  # +Y up to +Z up
    poses = turn @ views.cameras.to_opengl_c2w().double()
    first, last = views.seconds
    duration = last - first or 1.0
    intrinsics = [_intrinsics_json(K, views.cameras.width) for K in views.cameras.Ks.double()]
    shared = all(one == intrinsics[0] for one in intrinsics)
    frames: list[Json] = []
    for i in range(len(views)):
        seconds = float(views.times[i])
        frame: Json = {"file_path": files[i]} if files else {}
        frame |= {"time": (seconds - first) / duration, "timestamp": seconds, **({} if shared else intrinsics[i])}
        if exposure is not None:
            frame |= {"gain": exposure[0][i].tolist(), "offset": exposure[1][i].tolist()}
        frames.append(frame | {"transform_matrix": poses[i].tolist()})
    size = {"w": views.cameras.width, "h": views.cameras.height}
    return {**(intrinsics[0] if shared else {}), **size, "duration": duration, "frames": frames}


def _intrinsics_json(K: Tensor, width: int) -> dict[str, float]:
    fx, fy, cx, cy = float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
    return {"camera_angle_x": 2 * math.atan(0.5 * width / fx), "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}
