"""Captures: pixels in. Posed views from transforms JSON and videos, clips of an object, the normalisation of their world."""

from chronosplat.captures.clip import Clip, VideoOptions, open_clip
from chronosplat.captures.load import fit_size, is_video, load_capture, load_splits
from chronosplat.captures.normalize import normalizing_similarity
from chronosplat.captures.picture import Picture, open_picture
from chronosplat.captures.rig import Rig, sort_into_rig
from chronosplat.captures.transforms import save_transforms
from chronosplat.captures.views import Views

__all__ = [
    "Clip",
    "Picture",
    "Rig",
    "VideoOptions",
    "Views",
    "fit_size",
    "is_video",
    "load_capture",
    "load_splits",
    "normalizing_similarity",
    "open_clip",
    "open_picture",
    "save_transforms",
    "sort_into_rig",
]
