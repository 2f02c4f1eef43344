"""A kind of scene that the package does not know, Gaussians on circles, works everywhere through the Scene contract alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import av
import pytest
import torch
from torch import Tensor

import chronosplat as cs
from chronosplat.cameras import Similarity, orbit
from chronosplat.cli import main
from chronosplat.export import RenderOptions, read_ply
from chronosplat.scenes import SCENE_KINDS, TensorScene, scene_kind
from chronosplat.shapes import InputError
from tests.scene_kit import tilted_world

PERIOD = 2.0  # seconds


@dataclass(frozen=True)
class CirclingGaussians(TensorScene):
    """N Gaussians that circle the vertical axis once in ``period`` seconds: no linear motion describes them."""

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor
    period: float = PERIOD

    @property
    def num_gaussians(self) -> int:
        return len(self.means)

    @property
    def seconds(self) -> tuple[float, float]:
        return 0.0, self.period

    def evaluate(self, seconds: Tensor) -> dict[str, Tensor]:
        angle = (2 * math.pi / self.period * seconds.to(self.means))[:, None]
        x, y, z = self.means.unbind(-1)
        turned = torch.stack([x * angle.cos() + z * angle.sin(), y.expand(len(seconds), -1), z * angle.cos() - x * angle.sin()], -1)
        still = {n: getattr(self, n).expand(len(seconds), *getattr(self, n).shape) for n in ("quats", "scales", "opacities", "colors")}
        return {"means": turned, **still}

    def metadata(self) -> dict[str, str]:
        return {"period": json.dumps(self.period)}

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], world: Similarity, metadata: Mapping[str, str]) -> Self:
        return cls(**tensors, world=world, period=json.loads(metadata["period"]))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The kind is known during a test, and not to any other."""
    scene_kind("CirclingGaussians", schema=3)(CirclingGaussians)
    yield
    del SCENE_KINDS["CirclingGaussians"]


def circling(world: Similarity | None = None) -> CirclingGaussians:
    """A red Gaussian in front, a green one on the right."""
    return CirclingGaussians(
        means=torch.tensor([[0.0, 0.1, 0.4], [0.4, 0, 0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]] * 2),
        scales=torch.full((2, 3), 0.08),
        opacities=torch.tensor([0.95, 0.9]),
        colors=torch.tensor([[1.0, 0, 0], [0, 1, 0]]),
        world=world or Similarity(),
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_it_renders_as_its_frames_do(backend: str) -> None:
    scene, cameras = circling(tilted_world()), orbit([0.0, 0.0, 90.0, 180.0], 10.0, 32).transformed(tilted_world())
    times = [0.0, 0.5, 0.5, 1.9]
    out = cs.render(scene, cameras, times, backend=backend)
    for index, seconds in enumerate(times):
        alone = cs.render(scene.at(seconds), cameras[index], backend=backend)
        torch.testing.assert_close(out.rgb[index], alone.rgb[0], rtol=0, atol=2e-5)
    assert float((out.rgb[0] - out.rgb[1]).abs().max()) > 0.5  # it moves


def test_gradients_reach_its_fields() -> None:
    scene = circling().map(lambda x: x.clone().requires_grad_())
    cs.render(scene, orbit([0.0, 30.0], 10.0, 24), [0.2, 1.1]).rgb.sum().backward()
    assert all(t.grad is not None and bool(t.grad.abs().sum() > 0) for n, t in scene.tensors().items() if n != "quats")


def test_a_moving_scene_needs_times() -> None:
    with pytest.raises(InputError, match="times: a moving scene needs one time per camera"):
        cs.render(circling(), orbit([0.0], 0.0, 16))


def test_it_is_saved_and_loaded_with_its_own_metadata_and_schema(tmp_path: Path) -> None:
    scene = circling(tilted_world())
    cs.save_scene(scene, tmp_path / "a.safetensors", {"model": "toy"})
    again = cs.load_scene(tmp_path / "a.safetensors")
    assert type(again) is CirclingGaussians
    assert again.period == PERIOD
    assert torch.equal(again.means, scene.means)
    torch.testing.assert_close(again.world.matrix(), scene.world.matrix())
    CirclingGaussians.schema = 4
    with pytest.raises(InputError, match=r"CirclingGaussians schema 3, this version reads 4"):
        cs.load_scene(tmp_path / "a.safetensors")
    del SCENE_KINDS["CirclingGaussians"]
    with pytest.raises(InputError, match="unknown kind of scene 'CirclingGaussians'"):
        cs.load_scene(tmp_path / "a.safetensors")
    SCENE_KINDS["CirclingGaussians"] = CirclingGaussians


def test_it_exports_a_ply_sequence_a_video_and_pieces_in_linear_motion(tmp_path: Path) -> None:
    scene = circling(tilted_world())
    cs.export(scene, f"{tmp_path}/frames/", up="capture", times=5)
    for index, seconds in enumerate(scene.timestamps(5)):
        found = read_ply(tmp_path / "frames" / f"frame_{index:04d}.ply")
        torch.testing.assert_close(found.means, scene.at(seconds).means, rtol=1e-6, atol=1e-6)
    with av.open(str(cs.export(scene, tmp_path / "a.mp4", options=RenderOptions(frames=4, size=32)))) as video:
        assert len(list(video.decode(video=0))) == 4
    notices: list[cs.Notice] = []
    cs.export(scene, tmp_path / "a.ply", up="capture", events=cs.Events(notices.append))
    assert [notice.code for notice in notices] == ["linear-pieces"]
    pieces = read_ply(tmp_path / "a.ply").at(PERIOD / 3)
    centre = (pieces.opacities[:, None] * pieces.means).sum(0) / pieces.opacities.sum()
    torch.testing.assert_close(centre, scene.at(PERIOD / 3).means.mean(0), rtol=0, atol=0.05 * tilted_world().scale)


def test_no_strategy_refines_it_and_the_message_says_so() -> None:
    views = cs.Views(torch.ones(1, 16, 16, 3), torch.ones(1, 16, 16, 1), orbit([0.0], 0.0, 16), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(InputError, match="scene: no strategy refines a CirclingGaussians"):
        cs.refine(circling(), views, steps=2)


def test_the_command_line_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    cs.save_scene(circling(), path)
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["gaussians"], facts["seconds"], facts["schema"]) == ("CirclingGaussians", 2, [0.0, PERIOD], "3")
    assert main(["render", str(path), "-o", str(tmp_path / "a.mp4"), "--frames", "3", "--size", "32"]) == 0
    assert main(["export", str(path), "-o", f"{tmp_path}/frames/", "--frames", "2"]) == 0
    assert sorted(p.name for p in (tmp_path / "frames").glob("*.ply")) == ["frame_0000.ply", "frame_0001.ply"]
