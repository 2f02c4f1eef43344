"""Moving objects: animated glTF models, procedural creatures and mechanisms, and their rasteriser."""

from chronosplat.assets.mesh import Material, MovingMesh, Surface
from chronosplat.assets.model import GltfModel
from chronosplat.assets.raster import Lights, MeshPictures, PreparedSurface, rasterize_geometry, rasterize_mesh
