"""Refinement: a scene is optimised against its input views, for as long as the user likes."""

from chronosplat.refine.config import BEST, FAST, RefineConfig, refinement
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.refine import Refined, fit, refine, refine_scene

__all__ = ["BEST", "FAST", "RefineConfig", "Refined", "fit", "random_in_hull", "refine", "refine_scene", "refinement"]
