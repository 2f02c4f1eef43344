"""Refinement strategies, in the order in which ``auto`` asks them. A new one is one file and one line here."""

from chronosplat.refine.strategies.frames import Frames
from chronosplat.refine.strategies.free import Free
from chronosplat.refine.strategies.gentle import Gentle
from chronosplat.refine.strategies.track import Track
from chronosplat.refine.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (Frames(), Track(), Free(), Gentle())}
