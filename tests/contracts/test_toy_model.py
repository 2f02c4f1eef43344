"""A model that the package does not know, a visual hull, works everywhere through the model registry alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest
import torch

import chronosplat as cs
from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.models import MODELS, InputSpec, ModelSpec, load_model, register_model
from chronosplat.refine import random_in_hull
from tests.offline import no_network


@dataclass(frozen=True)
class HullConfig:
    """``count`` Gaussians."""

    count: int = 1500


class VisualHull:
    """Opaque Gaussians at random inside the silhouettes. It has no weights."""

    def __init__(self, config: HullConfig) -> None:
        self.config = config

    def reconstruct(self, views: cs.Views) -> cs.Gaussians4D:
        return random_in_hull(views, self.config.count, opacity=0.9)

    def to(self, device: torch.device | str, /) -> Self:
        return self

    def eval(self) -> Self:
        return self


SPEC = ModelSpec(
    "toy-hull",
    "a visual hull, for the tests",
    HullConfig(),
    InputSpec("views", size=24, max_views=6, refine="off"),
    lambda config, path: VisualHull(config),
    needs_weights=False,
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The model is known during a test, and not to any other."""
    register_model(SPEC)
    yield
    del MODELS["toy-hull"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight views of a moving object, 32x32."""
    split = alternating_canonical(procedural_object(3, "blob"), 32, times=8, samples=1)
    folder = tmp_path_factory.mktemp("toy") / "capture"
    save_transforms(split.inputs, folder, "train")
    save_transforms(split.targets, folder, "test")
    return folder


def test_it_is_loaded_by_name(capture: Path) -> None:
    model = load_model("toy-hull")
    assert isinstance(model, VisualHull)
    scene = model.reconstruct(cs.load_capture(capture))
    assert scene.num_gaussians == 1500


def test_reconstruct_gives_it_what_it_takes(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six of eight views of 32 pixels, reduced to 24, without refinement, as its specification says."""
    out = tmp_path / "out"
    assert main(["reconstruct", str(capture), "--model", "toy-hull", "-o", str(out), "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (report["model"], report["frames"], report["width"], report["gaussians"]) == ("toy-hull", 8, 32, 1500)
    assert "refinement" not in report["facts"]
    assert [notice["code"] for notice in report["notices"]][:2] == ["thinned", "reduced"]
    assert report["psnr_inputs"] > 15  # 12.6 dB for white
    assert type(cs.load_scene(out / "scene.safetensors")) is cs.Gaussians4D


def test_reconstruct_refines_it_on_request(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quality = []
    for refine in ("off", "fast"):
        arguments = ["reconstruct", str(capture), "--model", "toy-hull", "-o", str(tmp_path / refine), "--refine", refine, "--json"]
        assert main(arguments) == 0
        quality.append(json.loads(capsys.readouterr().out)["psnr_inputs"])
    assert quality[1] > quality[0] + 3


def test_eval_measures_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch, tmp_path / "no cache")
    arguments = ["eval", "procedural:blob", "--model", "toy-hull", "-o", str(tmp_path), "--size", "32", "--times", "8", "--lpips", "off"]
    assert main([*arguments, "--setup", "alternating", "--methods", "white", "feed-forward"]) == 0
    white, ours = (json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())
    assert ours["model"] == "toy-hull"
    assert ours["psnr_foreground"] > white["psnr_foreground"] + 3


def test_info_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model toy-hull"] == SPEC.about


def test_options_of_a_video_model_are_refused(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reconstruct", str(capture), "--model", "toy-hull", "-o", str(tmp_path / "out"), "--chunk", "4"]
    assert main(arguments) == 2
    assert "toy-hull takes posed views, or a video alone; leave out --chunk, or choose --model l4gm" in capsys.readouterr().err


def test_a_model_without_weights_by_design_is_no_model_whose_weights_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    register_model(replace(SPEC, needs_weights=True))
    assert main(["reconstruct", "anything", "--model", "toy-hull"]) == 2
    assert "anything: no such file or folder" in capsys.readouterr().err
    with pytest.raises(cs.InputError, match="toy-hull: a visual hull"):
        load_model("toy-hull")
