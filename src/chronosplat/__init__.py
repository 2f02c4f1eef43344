"""chronosplat: videos and posed images to 4D Gaussian splats.

The public names below are imported when they are first used, so that ``chronosplat --help`` does not wait for torch.
"""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    # OpenMP threads spin briefly at a barrier, then sleep: long spins stall on a busy machine, and instant sleep costs a fifth
    # on an idle one (docs/troubleshooting.md, benchmarks/busy.py)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

if TYPE_CHECKING:
    from chronosplat.cameras import Cameras
    from chronosplat.captures import VideoOptions, Views, load_capture, open_video
    from chronosplat.edit import edit
    from chronosplat.events import Cancel, Events, Notice
    from chronosplat.export import export, load_scene
    from chronosplat.models import load_model
    from chronosplat.pipeline import reconstruct
    from chronosplat.refine import RefineConfig, refine, refine_scene
    from chronosplat.render import render
    from chronosplat.scenes import DeformableGaussians, Gaussians3D, Gaussians4D, GaussianSequence, Scene, save_scene
    from chronosplat.shapes import InputError

__all__ = [
    "Cameras",
    "Cancel",
    "DeformableGaussians",
    "Events",
    "GaussianSequence",
    "Gaussians3D",
    "Gaussians4D",
    "InputError",
    "Notice",
    "RefineConfig",
    "Scene",
    "VideoOptions",
    "Views",
    "edit",
    "export",
    "load_capture",
    "load_model",
    "load_scene",
    "open_video",
    "reconstruct",
    "refine",
    "refine_scene",
    "render",
    "save_scene",
]
_ROOMS = {
    "cameras": ["Cameras"],
    "captures": ["VideoOptions", "Views", "load_capture", "open_video"],
    "edit": ["edit"],
    "events": ["Cancel", "Events", "Notice"],
    "export": ["export", "load_scene"],
    "models": ["load_model"],
    "pipeline": ["reconstruct"],
    "refine": ["RefineConfig", "refine", "refine_scene"],
    "render": ["render"],
    "scenes": ["DeformableGaussians", "Gaussians3D", "Gaussians4D", "GaussianSequence", "Scene", "save_scene"],
    "shapes": ["InputError"],
}


class _Lazy:
    """A public name, imported on first use. It outranks the room of the same name (``render``, ``export``, ``refine``, ``edit``)."""

    def __init__(self, room: str, name: str) -> None:
        self.room, self.name = room, name

    def __get__(self, package: ModuleType | None, owner: type) -> Any:
        return getattr(import_module(f"{__name__}.{self.room}"), self.name)

    def __set__(self, package: ModuleType, value: object) -> None:
        """Ignore the import system, which sets a submodule as an attribute of its package."""


class _Package(ModuleType):
    def __getattr__(self, name: str) -> Any:
        """A room, imported on first use."""
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from error

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


for _room, _names in _ROOMS.items():
    for _name in _names:
        setattr(_Package, _name, _Lazy(_room, _name))
sys.modules[__name__].__class__ = _Package
