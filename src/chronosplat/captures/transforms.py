"""Captures as transforms JSON: the nerfstudio and the Blender / D-NeRF forms, with times.

Poses are camera-to-world with OpenGL axes in a world whose +Z is up. ``time`` runs in [0, 1] and is multiplied by
``duration`` (seconds, 1 if absent); ``timestamp`` is in seconds. Intrinsics come from ``fl_x`` and its kin, else from
``camera_angle_x``; each frame may have its own.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from chronosplat.cameras import Cameras
from chronosplat.captures.background import separate
from chronosplat.captures.views import Views
from chronosplat.shapes import InputError

SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
RIGID_TOLERANCE = 1e-3


def find_json(folder: Path, split: str) -> Path:
    """The transforms file of a folder: the split's own, else the one for all.

    Raises:
        InputError: neither is there.
    """
    for name in (f"transforms_{split}.json", "transforms.json"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: no capture in it; expected transforms_{split}.json or transforms.json, or give a video file")


def has_split(path: Path, split: str) -> bool:
    """Whether a capture has pictures of its own for a split: a file, or nerfstudio's list of names."""
    if path.is_dir() and (path / f"transforms_{split}.json").is_file():
        return True
    common = path / "transforms.json" if path.is_dir() else path
    return common.is_file() and bool(_read_json(common).get(f"{split}_filenames"))


def load_transforms(path: Path, split: str) -> Views:
    """Read a capture.

    Raises:
        InputError: not JSON or not a capture, no frames, a frame without a pose or with one that is not rigid,
            intrinsics that are missing or not positive, pictures that are missing, undecodable or of different sizes.
    """
    meta = _read_json(path)
    frames = _frames_of_split(path, meta, split)
    pictures = [_picture(path, frame) for frame in frames]
    sizes = {p.shape[1::-1] for p, _ in pictures}
    if len(sizes) > 1:
        listed = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
        raise InputError(f"{path}: pictures of different sizes ({listed}); make them one size, or split the capture")
    width, height = sizes.pop()
    poses = torch.tensor(np.stack([_pose(path, i, frame) for i, frame in enumerate(frames)]))
    Ks = torch.stack([_intrinsics(path, i, meta, frame, width, height) for i, frame in enumerate(frames)])
    notes = []
    if any(frame.get(k, meta.get(k)) for frame in frames for k in DISTORTION):
        notes.append(f"{path.name}: lens distortion is ignored; undistort the pictures for exact results")
    images = torch.stack([p[..., :3] for p, _ in pictures])
    if all(has for _, has in pictures):
        alphas = torch.stack([p[..., 3:] for p, _ in pictures])
    else:
        images, alphas, note = separate(images, path.name)
        notes.append(note)
    cameras = Cameras.from_opengl_c2w(poses, Ks, width, height).to(dtype=torch.float32)
    return Views(images, alphas, cameras, _times(path, meta, frames, notes), torch.tensor([0.0, 0.0, 1.0]), tuple(notes))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list):
        raise InputError(f"{path}: not a capture; expected an object with a list of frames, as nerfstudio and Blender write it")
    return meta


def _frames_of_split(path: Path, meta: dict[str, Any], split: str) -> list[dict[str, Any]]:
    frames = meta["frames"]
    if chosen := meta.get(f"{split}_filenames"):  # nerfstudio's own way of naming splits
        frames = [f for f in frames if f.get("file_path") in set(chosen)]
    if not frames:
        raise InputError(f"{path}: has no frames in split {split!r}")
    return frames


def _pose(path: Path, index: int, frame: dict[str, Any]) -> np.ndarray:
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


def _intrinsics(path: Path, index: int, meta: dict[str, Any], frame: dict[str, Any], width: int, height: int) -> Tensor:
    def value(*names: str) -> float | None:
        found = next((source[n] for source in (frame, meta) for n in names if n in source), None)
        return None if found is None else float(found)

    def focal_of(angle: float | None, pixels: float) -> float | None:
        return None if angle is None else 0.5 * pixels / math.tan(angle / 2) if 0 < angle < math.pi else -1.0

    w, h = value("w") or width, value("h") or height  # intrinsics are for this size; pictures may have been resized
    fx = value("fl_x", "fx") or focal_of(value("camera_angle_x"), w)
    fy = value("fl_y", "fy") or focal_of(value("camera_angle_y"), h) or fx
    fx = fx or fy
    if fx is None or fy is None:
        raise InputError(f"{path}: frame {index} has no intrinsics (fl_x, or camera_angle_x)")
    if not (fx > 0 and fy > 0):
        raise InputError(f"{path}: frame {index}: its focal length is not positive ({fx:g}, {fy:g})")
    cx, cy = value("cx"), value("cy")
    K = torch.tensor([[fx, 0, w / 2 if cx is None else cx], [0, fy, h / 2 if cy is None else cy], [0, 0, 1]], dtype=torch.float64)
    return torch.diag(torch.tensor([width / w, height / h, 1.0], dtype=torch.float64)) @ K


def _times(path: Path, meta: dict[str, Any], frames: list[dict[str, Any]], notes: list[str]) -> Tensor:
    if all("timestamp" in f for f in frames):
        return torch.tensor([float(f["timestamp"]) for f in frames], dtype=torch.float64)
    given = [float(f["time"]) for f in frames if f.get("time") is not None]
    if len(given) < len(frames):
        if given:
            raise InputError(f"{path}: only some frames have a time; give all of them one, or none for a static capture")
        notes.append(f"{path.name}: no times, so the capture is taken as static")
        return torch.zeros(len(frames), dtype=torch.float64)
    return torch.tensor(given, dtype=torch.float64) * float(meta.get("duration", 1.0))


def _picture(path: Path, frame: dict[str, Any]) -> tuple[Tensor, bool]:
    """[H, W, 4] in [0, 1], and whether its alpha was given."""
    name = frame.get("file_path", frame.get("image_path"))
    if not name:
        raise InputError(f"{path}: a frame names no picture (file_path)")
    picture = decode(_resolve(path, str(name)))
    has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    pixels = torch.from_numpy(np.array(picture.convert("RGBA"), np.float32) / 255)
    if frame.get("mask_path"):
        mask = decode(_resolve(path, str(frame["mask_path"]))).convert("L").resize(picture.size)
        pixels[..., 3] = torch.from_numpy(np.array(mask, np.float32) / 255)
        has_alpha = True
    return pixels, has_alpha


def _resolve(path: Path, name: str) -> Path:
    base = path.parent / name
    for suffix in SUFFIXES:
        candidate = base.with_name(base.name + suffix)
        if candidate.is_file():
            return candidate
    raise InputError(f"{path}: picture {name} is missing beside it")


def decode(path: Path) -> Image.Image:
    """A decoded picture.

    Raises:
        InputError: it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be decoded as a picture ({error})") from error


def save_transforms(views: Views, folder: Path, split: str = "train") -> None:
    """Write views in the D-NeRF form: RGBA PNGs and ``transforms_SPLIT.json`` (one focal length for all frames).

    The world is turned so that its up is +Z, as readers of this form expect; ``time`` is normalised, as D-NeRF has it;
    ``timestamp`` is in seconds, so that splits which begin at different moments stay on one clock.
    """
    (folder / split).mkdir(parents=True, exist_ok=True)
    turn = torch.eye(4, dtype=torch.float64)
    if views.up is not None and float(views.up[1]) > 0.9:
        turn[:3, :3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)  # +Y up to +Z up
    poses = turn @ views.cameras.to_opengl_c2w().double()
    first, last = views.seconds
    duration = last - first or 1.0
    frames = []
    for i in range(len(views)):
        rgba = torch.cat([views.images[i], views.alphas[i]], -1)
        Image.fromarray((rgba.numpy() * 255 + 0.5).astype(np.uint8)).save(folder / split / f"r_{i:04d}.png")
        time = (float(views.times[i]) - first) / duration
        moment = {"time": time, "timestamp": float(views.times[i])}
        frames.append({"file_path": f"./{split}/r_{i:04d}", **moment, "transform_matrix": poses[i].tolist()})
    angle = 2 * math.atan(0.5 * views.cameras.width / float(views.cameras.Ks[0, 0, 0]))
    meta = {"camera_angle_x": angle, "duration": duration, "w": views.cameras.width, "h": views.cameras.height, "frames": frames}
    (folder / f"transforms_{split}.json").write_text(json.dumps(meta, indent=1))
