"""One solid body from the frames of one static camera, without a network."""

from chronosplat.refine.solid.config import SOLID_BEST, SOLID_FAST, SolidConfig
from chronosplat.refine.solid.solid import solid_body
