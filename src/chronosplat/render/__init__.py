"""Rendering with three backends: ``reference`` (readable, for tests), ``cpu`` (native, fast) and ``gsplat`` (CUDA)."""

from chronosplat.render.inputs import RasterInputs, RasterOutputs
from chronosplat.render.render import Rendered, background_color, choose_backend, rasterize, render
