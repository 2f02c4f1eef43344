"""Refinement: a scene is optimised against its input views, for as long as the user likes."""

from chronosplat.refine.agreement import disagreeing_cameras
from chronosplat.refine.config import BEST, FAST, RefineConfig, refinement
from chronosplat.refine.coverage import camera_numbers, one_direction
from chronosplat.refine.from_sequence import body_from_sequence, body_of_sequence
from chronosplat.refine.hull import random_in_hull
from chronosplat.refine.refine import fit, needs_prediction, refine, refine_scene
from chronosplat.refine.simplify import simplified
from chronosplat.refine.strategies import STRATEGIES
from chronosplat.refine.strategy import Problem, Refined, Strategy
