"""Settings of the solid body."""

from __future__ import annotations

from dataclasses import dataclass

from chronosplat.shapes import InputError

BATCH = 4  # frames in a step
MIN_STEPS = 50


@dataclass(frozen=True)
class SolidConfig:
    """How a solid body is fitted to the frames of one camera.

    Attributes:
        pixels_per_node: of the rest frame's silhouette. max_nodes: however large it is.
        rounds: of registration, and
        steps: of gradient descent, per frame while tracking.
        track_size: largest side in pixels of the frames that are tracked.
        fit_size: largest side in pixels of the frames that are fitted.
        joint: how often each frame is seen when all are fitted together, and
        residuals: when residuals take part at the tracked size, half as often at each larger one; 0 fits the motion of nodes only.
            Short videos get MIN_STEPS each.
        depth_model: name of a monocular depth model for the profile of the body, see load_depth_model; "": by inflation alone.
        seed: of everything random.
    """

    pixels_per_node: float = 16.0
    max_nodes: int = 240
    rounds: int = 12
    steps: int = 20
    track_size: int = 128
    fit_size: int = 256
    joint: int = 32
    residuals: int = 32
    depth_model: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pixels_per_node <= 0 or self.max_nodes < 1:
            raise InputError(f"pixels_per_node and max_nodes: expected positive, got {self.pixels_per_node:g} and {self.max_nodes}")
        for name in ("rounds", "steps", "joint", "residuals"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected 0 or more, got {getattr(self, name)}")

    def step_counts(self, frames: int) -> tuple[int, int]:
        """Steps of the joint fit without and with residuals."""
        joint, residuals = (max(MIN_STEPS, -(-visits * frames // BATCH)) if visits else 0 for visits in (self.joint, self.residuals))
        return joint, residuals


SOLID_FAST = SolidConfig(steps=15, joint=16, residuals=16)
SOLID_BEST = SolidConfig(fit_size=512)
