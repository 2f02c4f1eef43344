"""Refinement on CUDA gains as much as on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chronosplat.refine import refine_scene
from chronosplat.render import gsplat
from chronosplat.scenes import Gaussians4D
from tests.refine.kit import blobs, few, front_facing, psnr_of, unseen, views, wrong
from tests.refine.test_corrections import turned
from tests.refine.test_track import elsewhere, forgetful, tracking

REASON = gsplat.unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=f"gsplat: {REASON}")]


def test_both_devices_gain_alike() -> None:
    scene = wrong(blobs())
    here = refine_scene(scene, views(), few(100))
    there = refine_scene(scene.to("cuda"), views(), few(100))
    assert isinstance(there.scene, Gaussians4D)
    assert there.scene.means.is_cuda
    assert there.facts["steps"] == here.facts["steps"]
    found = psnr_of(there.scene.to("cpu"), unseen())
    assert found > psnr_of(scene, unseen()) + 2
    assert found == pytest.approx(psnr_of(here.scene, unseen()), abs=0.7)


def test_corrections_come_back_to_the_capture_s_device() -> None:
    given = replace(views(), cameras=turned(views().cameras))
    done = refine_scene(wrong(blobs()).to("cuda"), given, few(160, cameras=True, exposure=True))
    assert done.cameras is not None
    assert done.exposure is not None
    assert done.cameras.viewmats.device == given.cameras.viewmats.device
    assert not done.exposure[0].is_cuda
    scene = done.scene
    assert isinstance(scene, Gaussians4D)
    assert psnr_of(scene.to("cpu"), replace(given, cameras=done.cameras)) > psnr_of(scene.to("cpu"), given) + 2


def test_both_devices_track_alike() -> None:
    here = refine_scene(forgetful(), front_facing(), tracking())
    there = refine_scene(forgetful().to("cuda"), front_facing(), tracking())
    assert (there.facts["strategy"], there.facts["steps"]) == ("track", here.facts["steps"])
    assert isinstance(there.scene, Gaussians4D)
    assert there.scene.means.is_cuda
    assert psnr_of(there.scene.to("cpu"), elsewhere()) == pytest.approx(psnr_of(here.scene, elsewhere()), abs=1.0)
