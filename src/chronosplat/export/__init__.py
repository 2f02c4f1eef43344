"""Exports: splat files and videos that other tools open."""

from chronosplat.export.export import FORMATS, export, sequence_pictures, turntable_pictures
from chronosplat.export.ply import read_ply, write_ply
from chronosplat.export.sequence import write_sequence
from chronosplat.export.video import write_video

__all__ = ["FORMATS", "export", "read_ply", "sequence_pictures", "turntable_pictures", "write_ply", "write_sequence", "write_video"]
