"""chronosplat: videos to 4D Gaussian splats in one feed-forward pass."""

from chronosplat.cameras import Cameras
from chronosplat.captures import VideoOptions, Views, load_capture, open_clip
from chronosplat.export import export
from chronosplat.gaussians import Gaussians3D, Gaussians4D, GaussianSequence, load_scene, save_scene
from chronosplat.models.weights import load_model
from chronosplat.refine import refine
from chronosplat.render import render
from chronosplat.shapes import InputError

__version__ = "0.1.0"
__all__ = [
    "Cameras",
    "GaussianSequence",
    "Gaussians3D",
    "Gaussians4D",
    "InputError",
    "VideoOptions",
    "Views",
    "export",
    "load_capture",
    "load_model",
    "load_scene",
    "open_clip",
    "refine",
    "render",
    "save_scene",
]
