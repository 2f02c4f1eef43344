"""From a scene and options to the frames of an image file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor

from chronosplat.events import Events, info
from chronosplat.export.images.camera_files import file_shots
from chronosplat.export.images.compare import compared, compared_views, view_shots
from chronosplat.export.images.options import RenderOptions
from chronosplat.export.images.passes import SOLID, Setting, check_passes, composed, depth_range, rendered, widened
from chronosplat.export.images.shots import Shots, path_shots
from chronosplat.scenes import Scene

STEPS = 65535  # of a 16-bit image


@dataclass(frozen=True)
class Film:
    """Frames that are rendered as they are read.

    Attributes:
        frames: images in [0, 1]: [H, W, 3], [H, W, 4] with straight alpha, or [H, W, 1] for 16-bit greys.
        count: their number. fps: frames per second. facts: text by name, for formats that hold any.
    """

    frames: Iterator[Tensor]
    count: int
    fps: float
    facts: dict[str, str] = field(default_factory=dict)


def film(scene: Scene, options: RenderOptions, events: Events | None = None, device: str | None = None, deep: bool = False) -> Film:
    """Prepare the frames of a scene.

    Args:
        device: where to render; None: where the scene is.
        deep: whether the format takes 16-bit greys, which the depth pass alone then gives.

    Raises:
        InputError: an unknown path, pass or background, cameras that cannot be read, or times outside the scene.
    """
    events = events or Events()
    check_passes(options.passes)
    background = None if options.transparent else options.background_color
    if options.compare:
        views = compared_views(options, events)
        shots = view_shots(scene, views, options)
        setting = Setting(widened(shots.cameras.height, options.input_size), device)
        assert background is not None
        return Film(_counted(compared(scene, views, shots, background, setting), shots, events), len(shots), shots.fps)
    shots = file_shots(scene, options) if options.cameras else path_shots(scene, options, events)
    setting = Setting(widened(shots.cameras.height, options.input_size), device)
    if "depth" not in options.passes:
        images = (composed(out, cameras, options.passes, background, setting) for out, cameras in rendered(scene, shots, setting))
        return Film(_counted(images, shots, events), len(shots), shots.fps)
    depths = depth_range(scene, shots, setting)
    setting = replace(setting, depths=depths)
    if deep and options.passes == ("depth",):
        unit = depths.far / STEPS
        facts = {"depth_unit": repr(unit)}
        events.notice(info("depth-unit", f"depth: 16-bit values times {unit:.6g} are depths in the capture's units; 0 is empty"))
        images = (_deep(out.depth[0], out.alpha[0], depths.far) for out, _ in rendered(scene, shots, setting))
        return Film(_counted(images, shots, events), len(shots), shots.fps, facts)
    facts = {"depth_near": repr(depths.near), "depth_far": repr(depths.far)}
    scale = f"depth: white is {depths.near:.4g}, black {depths.far:.4g} in the capture's units, linearly"
    events.notice(info("depth-range", scale))
    images = (composed(out, cameras, options.passes, background, setting) for out, cameras in rendered(scene, shots, setting))
    return Film(_counted(images, shots, events), len(shots), shots.fps, facts)


def _deep(depth: Tensor, alpha: Tensor, far: float) -> Tensor:
    """Depth [H, W, 1] relative to the farthest; 0 where nothing is."""
    return (depth / far).clamp(0, 1) * (alpha >= SOLID)


def _counted(frames: Iterator[Tensor], shots: Shots, events: Events) -> Iterator[Tensor]:
    for index, frame in enumerate(frames):
        yield frame
        events.progress("rendering", index + 1, len(shots))
