"""The input views of a scene, for edits that look at them."""

from __future__ import annotations

from chronosplat.captures import Views, load_capture

SIZE, MOST = 256, 192  # pixels of the longer side; views


def input_views(path: str) -> Views:
    """Load a capture's views, small and few enough to sample them.

    Raises:
        InputError: not a capture.
    """
    return load_capture(path, size=SIZE, max_frames=MOST)
