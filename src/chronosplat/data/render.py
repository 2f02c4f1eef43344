"""Rendering of moving meshes as captures in D-NeRF format."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from chronosplat.assets import GltfModel, MovingMesh, PreparedSurface, rasterize_mesh
from chronosplat.assets.procedural import FAMILIES, procedural_object
from chronosplat.cameras import Cameras
from chronosplat.captures import Views, save_transforms
from chronosplat.data.clips import fixed_ring, pose_clip, random_views
from chronosplat.events import Events
from chronosplat.files import check_output, result_folder
from chronosplat.shapes import InputError

PROCEDURAL = "procedural:"


@dataclass(frozen=True)
class CaptureRig:
    """L4GM's rig: 16 fixed views at elevation 0 and random views, all at the same times.

    Attributes:
        size: pixels (H = W).
        frames: number of times, evenly spaced over the animation.
        random: random views in addition to the 16 fixed ones.
        samples: samples x samples per pixel.
        start: first time in seconds.
        duration: seconds to render; to the end of the animation by default.
        seed: of the random views and of procedural objects.
    """

    size: int = 256
    frames: int = 24
    random: int = 32
    samples: int = 3
    start: float = 0.0
    duration: float | None = None
    seed: int = 0


def open_mesh(source: str, animation: str | None, seed: int) -> MovingMesh:
    """Open a model file, or generate ``procedural:FAMILY``.

    Raises:
        InputError: the family is unknown, or the file cannot be read.
    """
    if not source.startswith(PROCEDURAL):
        return GltfModel(source, int(animation) if animation and animation.isdigit() else animation or 0)
    family = source.removeprefix(PROCEDURAL)
    known = [make.__name__ for make in FAMILIES]
    if family and family not in known:
        raise InputError(f"{source}: unknown family; known: {', '.join(known)}")
    return procedural_object(seed, family or None)


def render_capture(source: str, animation: str | None, rig: CaptureRig, output: Path, events: Events | None = None) -> int:
    """Render all views at all times to ``output``, in the splits train (fixed views) and test (random views).

    Args:
        source, animation: a model file and the name or index of its animation, or ``procedural:FAMILY`` and None.

    Returns:
        The number of images written.
    """
    if rig.size < 8 or rig.frames < 1 or rig.samples < 1 or rig.random < 0:
        got = f"{rig.size}, {rig.frames}, {rig.samples}, {rig.random}"
        raise InputError(f"expected size >= 8, frames >= 1, samples >= 1 and random >= 0; got {got}")
    events, inputs = events or Events(), [] if source.startswith(PROCEDURAL) else [Path(source)]
    check_output(output, inputs)
    mesh = open_mesh(source, animation, rig.seed)
    length = mesh.duration - rig.start if rig.duration is None else rig.duration
    seconds = rig.start + np.linspace(0, max(length, 0.0), rig.frames)
    poses, placement = pose_clip(mesh, seconds)
    surface = PreparedSurface(mesh.surface)
    cameras = {"train": fixed_ring(rig.size)}
    if rig.random:
        cameras["test"] = random_views(rig.random, rig.size, np.random.default_rng(rig.seed))
    views, threads, images = Cameras.cat(list(cameras.values())), torch.get_num_threads(), []
    for positions, normals in poses:
        images.append(rasterize_mesh(surface, placement.apply(positions), normals, views, None, rig.samples, threads, "pbr"))
        events.progress("rendering", len(images), rig.frames)
    rgba = np.stack(images)  # [T, V, H, W, 4]
    with result_folder(output, inputs) as folder:
        first = 0
        for split, part in cameras.items():
            save_transforms(_views(rgba[:, first : first + len(part)], part, seconds - rig.start), folder, split)
            first += len(part)
        report = {"made_by": "chronosplat data render", "source": source, "clip": animation, **asdict(rig)}
        (folder / "report.json").write_text(json.dumps(report, indent=1))
    return rgba.shape[0] * rgba.shape[1]


def _views(rgba: np.ndarray, cameras: Cameras, seconds: np.ndarray) -> Views:
    """Build time-major views from images [T, V, H, W, 4]."""
    frames, views = rgba.shape[:2]
    times, up = torch.from_numpy(np.repeat(seconds, views)), torch.tensor([0.0, 1.0, 0.0])
    return Views(pixels=torch.from_numpy(rgba).flatten(0, 1), cameras=cameras[list(range(views)) * frames], times=times, up=up)
