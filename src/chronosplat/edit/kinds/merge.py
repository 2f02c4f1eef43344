"""Merge: add another scene, at an offset in space and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.edit.registry import Edit, edit_kind
from chronosplat.edit.sampled import sampled_times
from chronosplat.events import Events, info
from chronosplat.export import load_scene
from chronosplat.export.coordinates import in_world, placed
from chronosplat.scenes import SPLAT_SHAPES, Clock, Editable, Gaussians3D, Gaussians4D, GaussianSequence, Scene, TimeMap, to_linear_motion

ALWAYS = 1e6  # time sigma of a static Gaussian, in durations


@edit_kind("merge")
@dataclass(frozen=True)
class Merge(Edit):
    """Add another scene.

    Static and continuous scenes become one cloud in linear motion, in which each scene is seen in its own time. With a sequence, both
    become frames at the times of both; before its first and after its last time, a scene stands still.
    """

    scene: str
    """A scene file of any format that can be read."""
    move: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """x y z by which the other scene is moved."""
    delay: float = 0.0
    """Seconds by which the other scene is later."""

    def apply(self, scene: Editable, events: Events) -> Scene:
        """Merge the scenes."""
        return merged(scene, load_scene(self.scene, events), self.move, self.delay, events)


def merged(scene: Editable, other: Scene, move: tuple[float, float, float], delay: float, events: Events) -> Scene:
    """Return both scenes as one, in the first one's world; see :class:`Merge`."""
    change = other.editable().moved(Similarity(translation=torch.tensor(move, dtype=torch.float64)))
    other = change.retimed(TimeMap.affine(delay, 1.0)) if delay and change.seconds is not None else change
    frames = [each.num_frames is not None and each.num_frames > 1 for each in (scene, other)]
    if any(frames):
        if not all(frames) and any(each.seconds is not None for each, stored in zip((scene, other), frames, strict=True) if not stored):
            events.notice(info("merge-frames", "merge: a sequence and a continuous scene become frames"))
        return _as_frames(scene, other)
    spans = [each.seconds for each in (scene, other) if each.seconds is not None]
    if len(spans) > 1 and spans[0] != spans[1]:
        listed = " and ".join(f"{first:g} to {last:g} s" for first, last in spans)
        text = f"merge: in linear motion each scene is seen in its own time, {listed}"
        events.notice(info("merge-spans", text, "sample the scene into frames first, then both stand still outside"))
    return placed(_joined(*(in_world(_linear(each, events)) for each in (scene, other))), scene.world)


def _linear(scene: Scene, events: Events) -> Scene:
    """The scene in a form that stands still or moves on straight lines."""
    if scene.linear_form() is not None:
        return scene
    converted = to_linear_motion(scene)
    events.notice(converted.notice())
    return converted.scene


def _joined(first: Scene, second: Scene) -> Gaussians3D | Gaussians4D:
    """Two clouds in the capture's world, in seconds."""
    spans = [scene.seconds for scene in (first, second) if scene.seconds is not None]
    clouds = [{name: t.to(first.device) for name, t in scene.tensors().items()} for scene in (first, second)]
    if not spans:
        return Gaussians3D(**_concatenated(clouds, 0))
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    moving = [cloud if "velocities" in cloud else cloud | _still(cloud["means"], start, end) for cloud in clouds]
    return Gaussians4D(**_concatenated(moving, 0), clock=Clock(), seconds=(start, end))


def _still(means: Tensor, start: float, end: float) -> dict[str, Tensor]:
    """Motion of Gaussians that stand still and are always visible."""
    ones = torch.ones_like(means[:, 0])
    middle, sigma = (start + end) / 2, ALWAYS * max(end - start, 1.0)
    return {"velocities": torch.zeros_like(means), "time_centers": middle * ones, "time_sigmas": sigma * ones}


def _concatenated(clouds: list[dict[str, Tensor]], axis: int) -> dict[str, Any]:
    return {name: torch.cat([cloud[name] for cloud in clouds], axis) for name in clouds[0]}


def _as_frames(scene: Editable, other: Editable) -> GaussianSequence:
    """Both scenes as frames at the times of both, in the first one's world."""
    listed = sorted(t for each in (scene, other) if each.seconds is not None for t in sampled_times(each))
    gap = 1e-6 * max(1.0, listed[-1] - listed[0])
    times = [t for index, t in enumerate(listed) if index == 0 or t - listed[index - 1] > gap]
    parts = [_sampled(scene, times), _sampled(other, times)]
    change = scene.world.inverse().after(other.world)
    parts[1] = parts[1].moved(change.after(Similarity()))
    fields = _concatenated([{name: part.tensors()[name] for name in SPLAT_SHAPES} for part in parts], 1)
    return GaussianSequence(**fields, times=torch.tensor(times, dtype=torch.float64), world=scene.world)


def _sampled(scene: Scene, times: list[float]) -> GaussianSequence:
    """A scene at given times, standing still outside of its own; its world is left out."""
    low, high = scene.seconds or (times[0], times[-1])
    fields: dict[str, Any] = scene.evaluate(torch.tensor(times, dtype=torch.float64).clamp(low, high))
    return GaussianSequence(**fields, times=torch.tensor(times, dtype=torch.float64))
