"""Animated glTF models, procedural moving objects, and the mesh rasteriser."""

from chronosplat.assets.mesh import Material, MovingMesh, Surface
from chronosplat.assets.model import GltfModel
from chronosplat.assets.raster import Lights, MeshImages, PreparedSurface, rasterize_geometry, rasterize_mesh
