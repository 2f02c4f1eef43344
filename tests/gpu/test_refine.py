"""Refinement on CUDA gains as much as on the CPU."""

from __future__ import annotations

import pytest

from chronosplat.refine import refine_scene
from chronosplat.render import gsplat
from tests.refine.kit import blobs, few, seen_as, unseen, views, wrong

REASON = gsplat.unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=f"gsplat: {REASON}")]


def test_both_devices_gain_alike() -> None:
    scene = wrong(blobs())
    here = refine_scene(scene, views(), few(100))
    there = refine_scene(scene.to("cuda"), views(), few(100))
    assert there.scene.means.is_cuda
    assert there.facts["steps"] == here.facts["steps"]
    found = seen_as(there.scene.to("cpu"), unseen())
    assert found > seen_as(scene, unseen()) + 2
    assert found == pytest.approx(seen_as(here.scene, unseen()), abs=0.7)
