"""Shots from files: the cameras of a capture, and camera paths in nerfstudio's form."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Cameras, intrinsics
from chronosplat.captures import load_cameras
from chronosplat.captures.views import evenly
from chronosplat.export.images.keyframes import Key, interpolated
from chronosplat.export.images.options import FPS, RenderOptions
from chronosplat.export.images.shots import Shots
from chronosplat.export.images.timing import STILL_SECONDS, played
from chronosplat.export.times import check_times
from chronosplat.scenes import Scene
from chronosplat.shapes import InputError

RIGID_TOLERANCE = 1e-3
MAX_FRAMES = 1_000_000


def file_shots(scene: Scene, options: RenderOptions) -> Shots:
    """Return the shots of ``options.cameras``: a capture folder, a transforms JSON, or a camera-path JSON.

    Poses are in the capture's world. Cameras without times play the scene.

    Raises:
        InputError: no such file, neither a capture nor a camera path, damaged, or times outside the scene.
    """
    path = Path(options.cameras)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    meta = _read(path) if path.is_file() else {}
    if "camera_path" in meta or "keyframes" in meta:
        return path_file_shots(scene, path, meta, options)
    if path.is_file() and not isinstance(meta.get("frames"), list):
        raise InputError(f"{path}: not a camera path; expected camera_path (nerfstudio) or frames (transforms JSON)")
    cameras, times = load_cameras(path, options.split or "train")
    chosen = evenly(len(cameras), options.frames or len(cameras))
    cameras = _sized(cameras[chosen], options)
    return _timed(scene, cameras, None if times is None else times[chosen].tolist(), options.fps or FPS, options)


def _read(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    return meta if isinstance(meta, dict) else {}


def path_file_shots(scene: Scene, path: Path, meta: dict[str, Any], options: RenderOptions) -> Shots:
    """Return the shots of a camera path: of its frames, or interpolated between its keyframes where it has none."""
    kind = str(meta.get("camera_type", "perspective")).lower()
    if kind != "perspective":
        raise InputError(f"{path}: camera_type: expected perspective, got {kind!r}")
    fps = options.fps or _positive(path, "fps", meta.get("fps", FPS))
    name = "camera_path" if meta.get("camera_path") else "keyframes"
    entries = meta.get(name)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: camera_path and keyframes: expected at least one camera")
    keys = [_key(path, f"{name}[{index}]", entry) for index, entry in enumerate(entries)]
    if name == "keyframes":
        seconds = options.seconds or _positive(path, "seconds", meta.get("seconds", STILL_SECONDS))
        frames = options.frames or max(1, round(seconds * fps))
        if frames > MAX_FRAMES:
            raise InputError(f"{path}: {frames} frames are more than {MAX_FRAMES}")
        keys = interpolated(keys, frames, bool(meta.get("is_cycle", False)))
    else:
        keys = [keys[index] for index in evenly(len(keys), options.frames or len(keys))]
    width, height = (
        round(_positive(path, key, meta.get(key, 0) or fallback)) for key, fallback in (("render_width", 512), ("render_height", 512))
    )
    Ks = torch.stack([intrinsics(width, height, key.fov) for key in keys])
    cameras = _sized(Cameras.from_opengl_c2w(torch.stack([key.pose for key in keys]), Ks, width, height), options)
    times = [key.time for key in keys if key.time is not None]
    if times and len(times) < len(keys):
        raise InputError(f"{path}: {name}: only some cameras have a render_time; give all of them one, or none")
    return _timed(scene, cameras, times or None, fps, options)


def _timed(scene: Scene, cameras: Cameras, times: list[float] | None, fps: float, options: RenderOptions) -> Shots:
    count = len(cameras)
    if options.at is not None:
        times = [options.at] * count
    elif scene.seconds is None:
        times = [0.0] * count
    elif times is None:
        times = played(scene.seconds, count, options.speed / fps)
    check_times(scene, times)
    return Shots(cameras, tuple(times), fps)


def _sized(cameras: Cameras, options: RenderOptions) -> Cameras:
    """Resize to the chosen size; the vertical field of view stays, and pixels stay square."""
    height = options.size or cameras.height
    width = options.width or max(1, round(height * cameras.width / cameras.height))
    if (width, height) == (cameras.width, cameras.height):
        return cameras
    same = cameras.resized(max(1, round(height * cameras.width / cameras.height)), height)
    Ks = same.Ks.clone()
    Ks[:, 0, 2] += (width - same.width) / 2
    return Cameras(same.viewmats, Ks, width, height)


def _positive(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{path}: {name}: expected a positive number, got {json.dumps(value)[:60]}")
    return float(value)


def _key(path: Path, where: str, entry: Any) -> Key:
    """One camera: its pose, vertical field of view in degrees, and time in seconds."""
    if not isinstance(entry, dict):
        raise InputError(f"{path}: {where}: expected an object, got {json.dumps(entry)[:60]}")
    fov = _positive(path, f"{where}.fov", entry.get("fov", 50.0))
    if fov >= 180:
        raise InputError(f"{path}: {where}.fov: expected degrees below 180, got {fov:g}")
    time = entry.get("render_time")
    if time is not None and (isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time)):
        raise InputError(f"{path}: {where}.render_time: expected seconds, got {json.dumps(time)[:60]}")
    return Key(_pose(path, where, entry.get("camera_to_world", entry.get("matrix"))), fov, time)


def _pose(path: Path, where: str, numbers: Any) -> Tensor:
    """A pose [4, 4] from 16 numbers, row by row."""
    try:
        pose = torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"{path}: {where}: expected camera_to_world as 16 numbers, row by row") from None
    rotation = pose[:3, :3]
    error = float((rotation @ rotation.T - torch.eye(3).double()).abs().max())
    is_affine = bool((pose[3] - torch.tensor([0.0, 0, 0, 1])).abs().max() < RIGID_TOLERANCE)
    if not (error < RIGID_TOLERANCE and is_affine and bool(torch.isfinite(pose).all()) and float(torch.linalg.det(rotation)) > 0):
        raise InputError(f"{path}: {where}: its pose is not a rigid transform (scaled, sheared, mirrored, not finite, or column by column)")
    return pose
