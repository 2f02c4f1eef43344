"""Animated glTF models, procedural moving objects, and the mesh rasteriser."""

from chronosplat.assets.lights import Lights, four_suns, random_rig, sun_and_sky
from chronosplat.assets.mesh import Material, MovingMesh, Surface, Texture, Wrap
from chronosplat.assets.model import GltfModel
from chronosplat.assets.prepared import PreparedSurface
from chronosplat.assets.raster import MeshImages, Shading, rasterize_geometry, rasterize_mesh
