"""Seconds are kept, and said before; images shrink before steps do."""

from __future__ import annotations

import time

from chronosplat.events import Cancel
from chronosplat.refine.solid.plan import Deadline


def test_a_deadline_ends_by_time_and_by_request() -> None:
    inner = Cancel()
    late = Deadline(inner, 0.05)
    assert not late.requested
    time.sleep(0.06)
    assert late.requested
    assert not inner.requested
    asked = Deadline(inner, 60.0)
    asked.request()
    assert inner.requested
    assert asked.requested
