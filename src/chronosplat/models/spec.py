"""Model specifications: name, config, inputs, weights and licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import torch

from chronosplat.captures import Views
from chronosplat.models.hub import HubFile
from chronosplat.scenes import Scene


class Reconstructor(Protocol):
    """A model that turns posed views into a scene; usually an ``nn.Module``."""

    def reconstruct(self, views: Views) -> Scene:
        """Return a scene in the capture's own world and seconds."""
        ...

    def to(self, device: torch.device | str, /) -> Self:
        """Move to a device."""
        ...

    def eval(self) -> Self:
        """Switch to evaluation mode."""
        ...


@dataclass(frozen=True)
class InputSpec:
    """A model's inputs.

    Attributes:
        kind: ``views``: posed images, all in one forward pass; ``video``: a static camera's frames, in chunks, with further views
            of the first frame.
        size: longer side of the training images in pixels; None for any.
        max_views: number of images beyond which quality stops rising; None for any.
        refine: default refinement of its scenes.
    """

    kind: Literal["views", "video"]
    size: int | None = None
    max_views: int | None = None
    refine: str = "fast"


@dataclass(frozen=True)
class ModelSpec:
    """One model.

    Attributes:
        name: for ``load_model`` and the command line. about: one line.
        load: builds the model from ``config`` and a weights file; None initialises at random.
        licence: of the weights. weights: a file in the package. hub: a published file.
        needs_weights: False for a method without weights.
    """

    name: str
    about: str
    config: Any
    inputs: InputSpec
    load: Callable[[Any, Path | None], Reconstructor]
    licence: str = ""
    weights: Path | None = None
    hub: HubFile | None = None
    needs_weights: bool = True
