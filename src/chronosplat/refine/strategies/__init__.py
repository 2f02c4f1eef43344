"""Refinement strategies, in the order in which ``auto`` asks them. A new one is one file and one name here."""

from chronosplat.refine.strategies.deform import DEFORM
from chronosplat.refine.strategies.frames import FRAMES
from chronosplat.refine.strategies.free import FREE
from chronosplat.refine.strategies.gentle import GENTLE
from chronosplat.refine.strategies.solid import SOLID
from chronosplat.refine.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (FRAMES, SOLID, DEFORM, FREE, GENTLE)}
