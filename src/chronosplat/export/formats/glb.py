"""Binary glTF with the ratified extension ``KHR_gaussian_splatting``: one set of Gaussians, or a frame-switched animation.

A frame is a mesh of points: ``POSITION``, ``ROTATION`` xyzw, ``SCALE`` linear, ``OPACITY`` in [0, 1], ``SH_DEGREE_0_COEF_0`` =
(rgb - 0.5) / 0.28209479 of sRGB colours ("srgb_rec709_display"), and ``COLOR_0`` for viewers that only know points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from chronosplat.assets.gltf import GltfFile
from chronosplat.assets.mesh import to_srgb
from chronosplat.events import Events, info
from chronosplat.export.coordinates import placed, world_of
from chronosplat.export.frame_files import FrameFiles
from chronosplat.export.glb import VERTICES, GlbWriter
from chronosplat.export.glb_scene import Shown, joined, shown_at_times, transformed
from chronosplat.export.packing import SH_C0
from chronosplat.export.registry import Format, Frames, Job, register
from chronosplat.scenes import Gaussians3D, Scene, normalize
from chronosplat.shapes import InputError

EXTENSION = "KHR_gaussian_splatting"
SMALLEST = 1e-12  # of a scale
COLOR_SPACES = ("srgb_rec709_display", "lin_rec709_display")


def write(frames: Frames, path: Path, job: Job) -> None:
    """Write frames as they are computed."""
    with GlbWriter(path, job.world) as glb:
        glb.use(EXTENSION)
        nodes = []
        for index, gaussians in enumerate(frames):
            name = f"frame_{index:04d}"
            mesh = {"mesh": glb.add("meshes", {"name": name, "primitives": [_primitive(glb, gaussians)]})} if len(gaussians.means) else {}
            nodes.append(glb.add("nodes", {"name": name} | mesh))
            job.events.progress("writing .glb", index + 1, len(frames))
        glb.show_in_turn(nodes, frames.times)


def _primitive(glb: GlbWriter, gaussians: Gaussians3D) -> dict[str, Any]:
    """Write one set of Gaussians."""
    g = gaussians.to("cpu", torch.float32).map(torch.Tensor.detach)
    opacities, colors = g.opacities.clamp(0, 1), g.colors.clamp(0, 1)
    fallback = torch.cat([colors, opacities[:, None]], 1) * 255
    splats = {
        "ROTATION": normalize(g.quats)[:, [1, 2, 3, 0]],
        "SCALE": g.scales.clamp_min(SMALLEST),
        "OPACITY": opacities,
        "SH_DEGREE_0_COEF_0": (g.colors - 0.5) / SH_C0,
    }
    attributes = {
        "POSITION": glb.accessor(g.means.numpy(), VERTICES, bounds=True),
        "COLOR_0": glb.accessor(fallback.round().numpy().astype(np.uint8), VERTICES, normalized=True),
    } | {f"{EXTENSION}:{name}": glb.accessor(values.numpy(), VERTICES) for name, values in splats.items()}
    return {"attributes": attributes, "mode": 0, "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": COLOR_SPACES[0]}}}


def read(path: Path, events: Events) -> Scene:
    """Read the splats of a file's scene; its animation of visibility gives the times.

    Raises:
        InputError: no splats, a damaged file, or another kernel or colour space.
    """
    file = GltfFile(path)
    frames = _safely(file, lambda: shown_at_times(file, _is_splats, events))
    notes = _safely(file, lambda: _notes(file))
    world = world_of(notes.get("world", ()))

    def frame(index: int, to: Events | None = None) -> Gaussians3D:
        parts = _safely(file, lambda: [transformed(_gaussians(file, shown, to), shown.matrix) for shown in frames[index].shown])
        found = joined(parts)
        return found if world is None else placed(found, world)  # pyright: ignore[reportReturnType]

    most = max(frame(index, None if index else events).num_gaussians for index in range(len(frames)))
    if len(frames) == 1:
        return frame(0)
    first = notes.get("first_second", 0.0)
    times = tuple(first + shown.seconds for shown in frames)
    return FrameFiles(tuple(range(len(frames))), times, most, frame, frame(0).world)


def _safely(file: GltfFile, work: Any) -> Any:
    """Do work that reads a file's structure; whatever goes wrong there is the file's fault."""
    try:
        return work()
    except InputError:
        raise
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise file.error(f"damaged: a reference is invalid, or a value has the wrong type or size ({error!r})") from error


def _notes(file: GltfFile) -> dict[str, Any]:
    """What our writer noted; nothing for other files."""
    notes = file.json["asset"].get("extras", {})
    notes = notes.get("chronosplat", {}) if isinstance(notes, dict) else {}
    first = float(notes.get("first_second", 0.0))
    return {"world": [float(value) for value in notes.get("world", ())], "first_second": first if np.isfinite(first) else 0.0}


def _is_splats(primitive: dict[str, Any]) -> bool:
    return EXTENSION in primitive.get("extensions", {})


def _gaussians(file: GltfFile, shown: Shown, events: Events | None) -> Gaussians3D:
    """The Gaussians of a primitive."""
    primitive = shown.primitive
    kind = primitive["extensions"][EXTENSION]
    if kind.get("kernel") != "ellipse" or kind.get("colorSpace") not in COLOR_SPACES:
        found = f"kernel {kind.get('kernel')!r}, colorSpace {kind.get('colorSpace')!r}"
        raise file.error(f"{EXTENSION} of {found}; readable: kernel 'ellipse', colorSpace {' or '.join(map(repr, COLOR_SPACES))}")
    if primitive.get("mode") != 0:
        raise file.error(f"{EXTENSION} on a primitive that is not points")
    names = ["POSITION", *(f"{EXTENSION}:{name}" for name in ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0"))]
    columns = [_column(file, primitive["attributes"], name) for name in names]
    if len({len(column) for column in columns}) != 1:
        raise file.error(f"damaged: attributes of {', '.join(str(len(column)) for column in columns)} elements in one primitive")
    means, quats, scales, opacities, harmonics = columns
    if [column.shape[1] for column in columns] != [3, 4, 3, 1, 3]:
        raise file.error("damaged: an attribute of the splats has the wrong type")
    if bool(((opacities < 0) | (opacities > 1)).any()) or bool((scales < 0).any()):
        raise file.error("damaged: opacities outside [0, 1], or negative scales")
    if events and any(name.startswith(f"{EXTENSION}:SH_DEGREE_1") for name in primitive["attributes"]):
        events.notice(info("harmonics", f"{file.path}: colours that depend on the viewing direction are left out (degree 0 is kept)"))
    colors = harmonics * SH_C0 + 0.5
    colors = torch.from_numpy(to_srgb(colors.numpy())) if kind["colorSpace"] == COLOR_SPACES[1] else colors
    return Gaussians3D(means, normalize(quats[:, [3, 0, 1, 2]]), scales.clamp_min(SMALLEST), opacities[:, 0], colors)


def _column(file: GltfFile, attributes: dict[str, int], name: str) -> torch.Tensor:
    """A vertex attribute as float32."""
    if name not in attributes:
        raise file.error(f"{EXTENSION} without {name}")
    accessor = file.items("accessors")[attributes[name]]
    if "bufferView" not in accessor or "sparse" in accessor:
        raise file.error(f"{name} is sparse, or has no data; write it in full")
    values = file.decoded(attributes[name]).astype(np.float32)
    if not np.isfinite(values).all():
        raise file.error(f"damaged: {name} holds NaN or infinities")
    return torch.from_numpy(values)


register(Format(".glb", f"binary glTF with {EXTENSION}; animated by frame-switched nodes", "frames", write, read, up="y"))
