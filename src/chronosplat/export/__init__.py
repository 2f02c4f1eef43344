"""Exports: splat files and videos that other tools open."""

from chronosplat.export.export import FORMATS, ExportFormat, ExportOptions, export, sequence_frames, turntable_frames
from chronosplat.export.ply import read_ply, write_ply
from chronosplat.export.sequence import visible, write_sequence
from chronosplat.export.video import write_video
