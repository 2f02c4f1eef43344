"""Surfaces of scenes: triangle meshes at single times, or one mesh that follows the scene's tracks."""

from chronosplat.meshes.mesh import Mesh
from chronosplat.meshes.surface import MeshOptions, surface
from chronosplat.meshes.tracked import MovingSurface, moving_surface
