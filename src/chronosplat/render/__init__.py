"""Rendering: one door, three backends (``reference`` judges, ``cpu`` is fast, ``gsplat`` runs on CUDA)."""

from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.render.render import Rendered, background_color, choose_backend, rasterize, render
