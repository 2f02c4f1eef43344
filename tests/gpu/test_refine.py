"""Refinement on CUDA gains as much as on the CPU."""

from __future__ import annotations

import pytest

from chronosplat.refine import refine_scene
from chronosplat.render import gsplat
from tests.refine.kit import blobs, few, seen_as, unseen, views, wrong
from tests.refine.test_track import elsewhere, film, following, forgetful

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


def test_both_devices_follow_alike() -> None:
    here = refine_scene(forgetful(), film(), following())
    there = refine_scene(forgetful().to("cuda"), film(), following())
    assert (there.facts["mode"], there.facts["steps"]) == ("followed", here.facts["steps"])
    assert there.scene.means.is_cuda
    assert seen_as(there.scene.to("cpu"), elsewhere()) == pytest.approx(seen_as(here.scene, elsewhere()), abs=1.0)
