"""Edits of scenes: each is a frozen dataclass, applied in order, recorded in the scene and replayed on another."""

from chronosplat.edit.edit import edit, history, read_edits
from chronosplat.edit.kinds.crop import Crop
from chronosplat.edit.kinds.decimate import Decimate
from chronosplat.edit.kinds.floaters import Floaters
from chronosplat.edit.kinds.merge import Merge
from chronosplat.edit.kinds.placing import Ground, Move, Rotate, Scale
from chronosplat.edit.kinds.recolour import Recolour
from chronosplat.edit.kinds.timing import Loop, Retime, Sample, SlowMotion, Trim
from chronosplat.edit.registry import Edit, edit_kind, edit_kinds, edits_from_records
