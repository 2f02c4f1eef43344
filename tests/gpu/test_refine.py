"""Refinement on CUDA gains as much as on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chronosplat.refine import fit, refine_scene
from chronosplat.refine.config import DeformConfig
from chronosplat.render import gsplat
from chronosplat.scenes import DeformableGaussians, Gaussians4D
from tests.refine.kit import alternating, bending, blobs, few, psnr_of, unseen, views, views_of, wrong
from tests.refine.test_corrections import turned

REASON = gsplat.unavailable()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=f"gsplat: {REASON}")]


def test_both_devices_gain_alike() -> None:
    scene = wrong(blobs())
    here = refine_scene(scene, views(), few(100, strategy="free"))
    there = refine_scene(scene.to("cuda"), views(), few(100, strategy="free"))
    assert isinstance(there.scene, Gaussians4D)
    assert there.scene.means.is_cuda
    assert there.facts["steps"] == here.facts["steps"]
    found = psnr_of(there.scene.to("cpu"), unseen())
    assert found > psnr_of(scene, unseen()) + 2
    assert found == pytest.approx(psnr_of(here.scene, unseen()), abs=0.7)


def test_corrections_come_back_to_the_capture_s_device() -> None:
    given = replace(views(), cameras=turned(views().cameras))
    done = refine_scene(wrong(blobs()).to("cuda"), given, few(160, strategy="free", cameras=True, exposure=True))
    assert done.cameras is not None
    assert done.exposure is not None
    assert done.cameras.viewmats.device == given.cameras.viewmats.device
    assert not done.exposure[0].is_cuda
    scene = done.scene
    assert isinstance(scene, Gaussians4D)
    assert psnr_of(scene.to("cpu"), replace(given, cameras=done.cameras)) > psnr_of(scene.to("cpu"), given) + 2


def test_both_devices_deform_alike() -> None:
    given, config = views_of(bending(), *alternating()), few(200, strategy="deform", deform=DeformConfig(rests=1))
    here, there = (fit(given, config, device=device) for device in ("cpu", "cuda"))
    assert (there.facts["strategy"], there.facts["steps"]) == ("deform", here.facts["steps"])
    assert isinstance(there.scene, DeformableGaussians)
    assert there.scene.means.is_cuda
    assert psnr_of(there.scene.to("cpu"), given) == pytest.approx(psnr_of(here.scene, given), abs=1.0)
