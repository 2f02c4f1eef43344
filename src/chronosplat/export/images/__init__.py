"""Images and videos of a scene: shots (a camera and a time per frame), passes (what an image shows), and writers."""

from chronosplat.export.images.options import RenderOptions, with_source
from chronosplat.export.images.previews import sequence_frames, turntable_frames
from chronosplat.export.images.shots import PATHS
from chronosplat.export.images.video import write_video
from chronosplat.export.images.write import render_to
