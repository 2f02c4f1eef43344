"""Long videos with L4GM: chunks that hand over to each other, frames in between, and a run that can be interrupted."""

from chronosplat.sequences.between import PAIR_FRAMES, interpolate_pair
from chronosplat.sequences.chunks import Span, plan_chunks, reconstruct_chunk, render_views
from chronosplat.sequences.memory import choose_chunk, out_of_memory
from chronosplat.sequences.run import Plan, Progress, run_sequence

__all__ = [
    "PAIR_FRAMES",
    "Plan",
    "Progress",
    "Span",
    "choose_chunk",
    "interpolate_pair",
    "out_of_memory",
    "plan_chunks",
    "reconstruct_chunk",
    "render_views",
    "run_sequence",
]
