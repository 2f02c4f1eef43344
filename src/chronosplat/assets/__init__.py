"""Moving objects: animated glTF models, procedural creatures and mechanisms, and their rasteriser."""

from chronosplat.assets.mesh import Material, MovingMesh, Surface
from chronosplat.assets.model import GltfModel
from chronosplat.assets.raster import Lights, PreparedSurface, rasterize_mesh

__all__ = ["GltfModel", "Lights", "Material", "MovingMesh", "PreparedSurface", "Surface", "rasterize_mesh"]
