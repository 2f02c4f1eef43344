"""Captures: posed views from transforms JSON and video, matting and framing, and world normalisation."""

from chronosplat.captures.load import Limits, fitted_size, is_video, load_capture, load_splits
from chronosplat.captures.normalize import normalizing_similarity
from chronosplat.captures.object_image import ObjectImage, open_image
from chronosplat.captures.object_video import ObjectVideo, VideoOptions, open_video
from chronosplat.captures.rig import Rig, sort_into_rig
from chronosplat.captures.spread import spread_views
from chronosplat.captures.transforms import load_cameras, save_transforms
from chronosplat.captures.views import Views
