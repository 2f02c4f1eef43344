"""What the package knows of a model: its name, how to build it, its weights and licence, and what it takes in."""

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
        """A scene in the capture's own world and seconds."""
        ...

    def to(self, device: torch.device | str, /) -> Self:
        """The model on another device."""
        ...

    def eval(self) -> Self:
        """The model in evaluation mode."""
        ...


@dataclass(frozen=True)
class InputSpec:
    """What a model takes in.

    Attributes:
        kind: ``views``: posed images, all in one forward pass; ``video``: frames of a static camera in chunks, with other views
            of the first frame.
        size: pixels of the longer side that it was trained for; None takes any.
        max_views: images beyond which it gains nothing; None takes any number.
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
        config: its sizes. inputs: what it takes in.
        load: builds it from its config and a weights file; random weights where the file is None.
        licence: of the weights. weights: a file in the package. hub: a file that its authors published.
        needs_weights: False for a method that has none.
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
