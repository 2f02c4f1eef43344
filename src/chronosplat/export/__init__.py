"""Exports and imports: splat files, sequences and videos that other tools open."""

from chronosplat.export.export import export, export_times
from chronosplat.export.formats.ply import read_ply, write_ply
from chronosplat.export.images import RenderOptions, render_to, sequence_frames, turntable_frames, write_video
from chronosplat.export.load import load_scene
from chronosplat.export.registry import NUMBERS, Format, Frames, Job, format_of, formats, register, visible
