"""Windows: how animations are cut into clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.data.windows import cut


@given(st.floats(0, 30), st.integers(1, 48), st.sampled_from([8.0, 24.0, 30.0]))
def test_windows_join_and_stay_inside(duration: float, frames: int, fps: float) -> None:
    windows = cut(duration, frames, fps)
    seconds = np.concatenate([w.seconds for w in windows])
    np.testing.assert_allclose(np.diff(seconds), 1 / fps)
    assert [w.index for w in windows] == list(range(len(windows)))
    assert len(windows) == 1 or seconds[-1] < duration + 1e-3
    assert duration - len(windows) * frames / fps < frames / fps + 1e-3  # what is dropped is shorter than a window


@pytest.mark.parametrize(("duration", "count"), [(0.0, 1), (0.4, 1), (1.0, 1), (1.99, 1), (2.0, 2), (7.5, 7)])
def test_one_second_clips(duration: float, count: int) -> None:
    windows = cut(duration)
    assert len(windows) == count
    assert all(len(w.seconds) == 24 for w in windows)


def test_eight_fps_is_every_third_frame() -> None:
    for whole, strided in zip(cut(3.2), cut(3.2, 8, 8.0), strict=True):
        np.testing.assert_allclose(whole.seconds[::3], strided.seconds)


def test_a_limit_spreads_the_windows() -> None:
    assert [w.index for w in cut(9.0, most=3)] == [0, 4, 8]
    assert [w.index for w in cut(2.0, most=3)] == [0, 1]
