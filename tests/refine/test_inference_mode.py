"""Scenes and views that were made under ``torch.inference_mode`` are refined like any others, by every strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import chronosplat
from chronosplat.captures import Views
from chronosplat.refine import RefineConfig, fit, refine_scene
from chronosplat.scenes import Scene
from tests.refine.kit import blobs, few, front_facing, psnr_of, ring, same, still, three_frames, video_views, views, wrong

CASES: dict[str, tuple[Callable[[], Any], Callable[[], Views], RefineConfig]] = {
    "free": (blobs, views, few(60, strategy="free")),
    "gentle": (blobs, video_views, few(30, strategy="gentle", search=0.0)),
    "gentle, static": (still, ring, few(30, strategy="gentle", search=0.0)),
    "deform": (blobs, ring, few(60, strategy="deform")),
    "frames": (three_frames, views, few(30, strategy="frames")),
    "corrections": (blobs, views, few(60, strategy="free", cameras=True, exposure=True)),
}


def predicted(scene: Callable[[], Any], dtype: torch.dtype = torch.float32) -> Scene:
    """A scene whose tensors were all made in the mode that is on."""
    return wrong(scene(), 0.03, 0.1).to(dtype=torch.float64).to(dtype=dtype)


def loaded(given: Callable[[], Views]) -> Views:
    """Views whose tensors were all made in the mode that is on."""
    views = given()
    copied = replace(views.cameras, viewmats=views.cameras.viewmats.clone(), Ks=views.cameras.Ks.clone())
    return Views(views.images.clone(), views.alphas.clone(), copied, views.times.clone())


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_refined_as_usual(case: str, inside: bool) -> None:
    scene, given, config = CASES[case]
    with torch.inference_mode():
        made, seen = predicted(scene), loaded(given)
    with torch.inference_mode(inside):
        done = refine_scene(made, seen, config)
    wanted = refine_scene(predicted(scene), loaded(given), config)
    assert done.facts["strategy"] == config.strategy
    assert done.facts["kept"] is wanted.facts["kept"] is False
    assert same(done.scene, wanted.scene)
    if case == "corrections":
        assert done.cameras is not None
        assert wanted.cameras is not None
        assert torch.equal(done.cameras.viewmats, wanted.cameras.viewmats)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("case", ["free", "gentle", "frames"])
def test_in_double_precision_as_well(case: str, inside: bool) -> None:
    """There the conversion to float32 is one more place that makes tensors without gradients."""
    scene, given, config = CASES[case]
    with torch.inference_mode():
        made, seen = predicted(scene, torch.float64), loaded(given)
    with torch.inference_mode(inside):
        done = refine_scene(made, replace(seen, images=seen.images.double(), alphas=seen.alphas.double()), config)
    assert done.facts["kept"] is False


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("strategy", ["free", "deform"])
def test_fitted_as_usual(strategy: str, inside: bool) -> None:
    config = few(60, strategy=strategy)
    with torch.inference_mode():
        seen = loaded(front_facing)
    with torch.inference_mode(inside):
        done = fit(seen, config)
    assert done.facts["strategy"] == strategy
    assert same(done.scene, fit(front_facing(), config).scene)


def test_the_public_door_inside_and_what_it_returns_can_be_refined_again() -> None:
    start = predicted(blobs)
    with torch.inference_mode():
        once = chronosplat.refine(predicted(blobs), loaded(views), steps=60, strategy="gentle")
    twice = chronosplat.refine(once, views(), steps=60, strategy="gentle")
    assert psnr_of(start, views()) + 1 < psnr_of(once, views()) < psnr_of(twice, views())
