"""``chronosplat.reconstruct`` does what the command line does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

import chronosplat as cs
from chronosplat.assets.procedural import procedural_object
from chronosplat.cameras import orbit
from chronosplat.captures import Views, save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.refine import FAST, config, refinement
from chronosplat.refine.solid.config import SolidConfig
from tests.refine.kit import moving, same, still, timestamps, video, views, views_of

MODULE = import_module("chronosplat.pipeline.reconstruct")
SHORT = replace(FAST, steps=12, solid=SolidConfig(rounds=2, steps=2, joint=2, residuals=2))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """``fast`` takes a dozen steps."""
    monkeypatch.setattr(config, "FAST", SHORT)


def few_views() -> Views:
    """Eight views of a moving object, which need a prediction."""
    return alternating_canonical(procedural_object(3, "blob"), 24, times=8, samples=1).inputs


def one_camera() -> Views:
    """Six frames of a static camera."""
    return views_of(moving(), *video(6, sides=False))


@pytest.mark.parametrize("make", [few_views, one_camera, views], ids=["prediction", "one camera", "several sides"])
def test_it_returns_what_the_command_line_writes(make: Callable[[], Views], tmp_path: Path) -> None:
    save_transforms(make(), tmp_path / "capture", "train")
    quick = ["--seed", "3", "--device", "cpu", "--preview-frames", "2", "--preview-size", "32"]
    assert main(["reconstruct", str(tmp_path / "capture"), "-o", str(tmp_path / "out"), *quick]) == 0
    made = cs.reconstruct(cs.load_capture(tmp_path / "capture"), seed=3)
    written = cs.load_scene(tmp_path / "out" / "scene.safetensors")
    assert made.kind == written.kind
    assert all(torch.equal(tensor, written.tensors()[name]) for name, tensor in made.tensors().items())


def test_a_model_is_loaded_only_where_a_prediction_is_needed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    loaded: list[str] = []
    load = cs.load_model
    monkeypatch.setattr(MODULE, "load_model", lambda name, *more: loaded.append(name) or load(name, *more))
    caplog.set_level(logging.INFO, "chronosplat")
    assert isinstance(cs.reconstruct(one_camera()), cs.DeformableGaussians)
    assert loaded == []
    assert "no prediction is made" in caplog.text
    predicted = cs.reconstruct(few_views(), how="off")
    assert loaded == ["4d-lrm-mini"]
    assert same(predicted, load("4d-lrm-mini").reconstruct(few_views()))


def test_budgets_are_those_of_the_refinement() -> None:
    assert refinement("best", steps=5) == replace(SHORT, steps=5)
    assert refinement("best", seconds=60) == refinement("60")
    given = few_views()
    assert same(cs.reconstruct(given, steps=8, seed=2), cs.reconstruct(given, "best", steps=8, seed=2))


def test_views_without_an_object_are_left_out_with_a_notice(caplog: pytest.LogCaptureFixture) -> None:
    given = few_views()
    pixels = given.rgba8().clone()
    pixels[2, ..., 3] = 0
    assert cs.reconstruct(replace(given, pixels=pixels), how="off").num_gaussians > 0
    assert "1 of 8 views show no object and are left out" in caplog.text


def test_views_are_reduced_to_what_they_show(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chronosplat")
    cameras = orbit([45.0 * i for i in range(8)] * 2, size=32)
    made = cs.reconstruct(views_of(still(), cameras, timestamps(2).repeat_interleave(8)))
    assert made.seconds is None
    assert "the object does not move: its 2 timestamps are taken as one" in caplog.text
    near = views_of(still(), orbit([0.0, 5.0, 10.0], size=32), torch.zeros(3, dtype=torch.float64))
    cs.reconstruct(near)
    assert "all images come from one viewpoint" in caplog.text
    assert "all cameras look the same way: camera 0 alone makes a solid body, 2 of 3 views are left out" in caplog.text


BAD = {
    "a video's model": ({"model": "l4gm"}, "model: l4gm takes a video, not posed views; use model=4d-lrm-mini"),
    "no model": ({"model": "lrm"}, "unknown model 'lrm'"),
    "a word": ({"how": "slow"}, "refine: expected off, fast, best or a number of seconds, got 'slow'"),
    "two budgets": ({"steps": 3, "seconds": 3.0}, "refine: give steps or seconds, one of the two"),
    "a strategy": ({"strategy": "hard"}, "strategy: expected auto"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(cs.InputError) as raised:
        cs.reconstruct(few_views(), **options)  # pyright: ignore[reportArgumentType]
    assert str(raised.value).startswith(message)
