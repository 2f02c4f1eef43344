"""What the page holds of each form of scene: static, linear motion, skinned, or one block of Gaussians per time step.

A block is a set of Gaussians that the GPU holds at once. Words and rows are those that ``web/src/shaders.js`` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chronosplat.scenes import Scene, Skinned
from chronosplat.shapes import InputError, check_finite
from chronosplat.viewer.packing import (
    Channel,
    Place,
    curve_order,
    floats,
    integers,
    packed,
    position_bits,
    quantised,
    quat_channels,
    signed_root,
)

ALPHA_MIN = 1 / 255  # the renderer skips less
FAINT = 0.05  # and in linear motion culls Gaussians whose opacity, or weight in time, is less
REACH = 2.448  # time sigmas at which the weight falls to FAINT
MOST_NODES = 1 << 16


@dataclass(frozen=True)
class Block:
    """Gaussians of one time step, or of all: how many, what the page needs to know of their channels, and their bytes."""

    count: int
    channels: list[list[float]]
    data: bytes


def scene_blocks(scene: Scene, frames: int) -> tuple[dict[str, Any], Iterator[Block]]:
    """Return the header of a scene's form, and its blocks, which are made one at a time.

    Args:
        frames: time steps of a scene that the page cannot evaluate itself and that stores none.
    """
    linear = scene.linear_form()
    if linear is not None and linear.clock is not None:
        clock = {"offset": linear.clock.offset, "rate": linear.clock.rate}
        span = linear.clock.scene_time(torch.tensor(scene.seconds or (0.0, 0.0), dtype=torch.float64))
        return {"form": "linear", "clock": clock, "faint": FAINT}, iter([_linear(linear.tensors, span)])
    if linear is not None:
        return {"form": "static"}, iter([_block(linear.tensors, ALPHA_MIN)])
    if isinstance(scene, Skinned):
        return _skinned_header(scene), iter([_skinned(scene)])
    times = scene.timestamps(frames) or [0.0]
    return {"form": "frames", "times": times}, (_at(scene, seconds) for seconds in times)


def _at(scene: Scene, seconds: float) -> Block:
    fields = scene.evaluate(torch.tensor([seconds], dtype=torch.float64))
    return _block({name: values[0] for name, values in fields.items()}, ALPHA_MIN)


def _linear(tensors: Mapping[str, Tensor], span: Tensor) -> Block:
    centers, sigmas = tensors["time_centers"], tensors["time_sigmas"]
    near = centers.clamp(float(span.min()), float(span.max()))
    seen = (near - centers).abs() <= REACH * sigmas  # at some time of the scene
    return _block(tensors, FAINT, seen)


def _skinned(scene: Skinned) -> Block:
    if len(scene.nodes) > MOST_NODES:
        raise InputError(f"scene: the page holds at most {MOST_NODES} nodes, got {len(scene.nodes)}")
    fields = {name: getattr(scene, name) for name in ("means", "quats", "scales", "opacities", "colors", "skin_nodes", "skin_weights")}
    for name in ("groups", "shares"):
        value = getattr(scene, name)
        fields |= {} if value is None else {name: value}
    return _block(fields, ALPHA_MIN)


def _skinned_header(scene: Skinned) -> dict[str, Any]:
    """The knots, and what moves the nodes and groups at each: float32 [M, K, 6] and [M, G, 7]."""
    header: dict[str, Any] = {
        "form": "skinned",
        "knots": scene.knots.tolist(),
        "nodes": len(scene.nodes),
        "joints": scene.skin_nodes.shape[1],
    }
    header |= {"rest": floats(scene.nodes), "motion": floats(torch.cat([scene.shifts, scene.turns], -1)), "groups": 0}
    if scene.offsets is not None and scene.tints is not None:
        fades = torch.ones_like(scene.offsets[..., :1]) if scene.fades is None else scene.fades[..., None]
        header |= {"groups": scene.offsets.shape[1], "residuals": floats(torch.cat([scene.offsets, scene.tints, fades], -1))}
    return header


def _block(fields: Mapping[str, Tensor], opacity_min: float, seen: Tensor | None = None) -> Block:
    """Drop what is never visible, sort along a curve, and pack."""
    with torch.no_grad():
        for name, values in fields.items():
            check_finite(name, values)
        kept = fields["opacities"] >= opacity_min
        kept = kept if seen is None else kept & seen
        some = {name: values[kept] for name, values in fields.items()}
        order = curve_order(some["means"]).to(kept.device)
        channels = _channels({name: values[order] for name, values in some.items()})
    return Block(len(order), *packed(channels))


def _channels(x: Mapping[str, Tensor]) -> list[Channel]:
    """The record of a Gaussian on the GPU: words of 32 bits, four to a texel."""
    bits = position_bits(x["means"], x["scales"])
    parts = [channel for k in range(3) for channel in quantised(x["means"][:, k : k + 1], bits, [Place(k)], k)]
    parts += quantised(x["colors"], 8, [Place(0, 24), Place(1, 24), Place(2, 24)], 3)
    parts += quantised(x["opacities"].clamp(0, 0.999)[:, None], 8, [Place(3, 24)], 6)
    parts += quantised(x["scales"].clamp_min(1e-12).log(), 8, [Place(3), Place(3, 8), Place(3, 16)], 7)
    parts += quat_channels(x["quats"], 4)
    if "velocities" in x:
        parts += quantised(signed_root(x["velocities"]), 11, [Place(5), Place(5, 12), Place(6)], 10)
        parts += quantised(x["time_centers"][:, None], 12, [Place(6, 12)], 13)
        parts += quantised(x["time_sigmas"].log()[:, None], 12, [Place(7)], 14)
    if "skin_nodes" in x:
        weights = (x["skin_weights"].double().clamp(0, 1) * 65535).round()
        for j in range(weights.shape[1]):
            parts += [integers(x["skin_nodes"][:, j], 16, Place(8 + j)), integers(weights[:, j], 16, Place(8 + j, 16))]
    if "groups" in x:
        share = x.get("shares", torch.ones_like(x["opacities"]))
        parts += [integers(x["groups"], 24, Place(6)), *quantised(share[:, None], 8, [Place(5)], 15)]
    return parts


def typical_place(scene: Scene) -> tuple[list[float], float]:
    """Centre and radius of the opaque Gaussians at the middle of a scene's time, in its own world, outliers left out."""
    first, last = scene.seconds or (0.0, 0.0)
    with torch.no_grad():
        fields = scene.evaluate(torch.tensor([(first + last) / 2], dtype=torch.float64))
    means = fields["means"][0][fields["opacities"][0] > 0.1].double()
    if not len(means):
        return [0.0, 0.0, 0.0], 1.0
    low, high = torch.quantile(
        means[:: max(1, len(means) // 100_000)], torch.tensor([0.02, 0.98], dtype=torch.float64).to(means.device), dim=0
    )
    radius = float((high - low).norm()) / 2
    return ((low + high) / 2).tolist(), radius or 1.0
