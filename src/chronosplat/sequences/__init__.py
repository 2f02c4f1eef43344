"""Long videos with L4GM: overlapping chunks, frame interpolation, and resumable runs."""

from chronosplat.sequences.chunks import Span, plan_chunks, reconstruct_chunk, render_views
from chronosplat.sequences.interpolate import PAIR_FRAMES, interpolate_pair
from chronosplat.sequences.memory import choose_chunk, out_of_memory
from chronosplat.sequences.run import ChunkDone, FrameSource, Plan, run_sequence
