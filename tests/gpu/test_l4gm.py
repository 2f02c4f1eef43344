"""L4GM on CUDA against the CPU: one pass in every precision, and a whole sequence through the renderer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chronosplat.cameras import Similarity
from chronosplat.models.l4gm import input_maps
from chronosplat.scenes import GaussianSequence, load_scene
from chronosplat.sequences import Plan, run_sequence
from tests.l4gm_kit import TINY, tiny_model
from tests.sequences.kit import Movie, side_views

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float16, 2e-2), (torch.bfloat16, 1e-1)])
def test_one_pass_gives_what_the_cpu_gives(dtype: torch.dtype, tolerance: float) -> None:
    """Tolerances are a few roundings of each type on outputs of order one."""
    maps = input_maps(torch.rand(1, 3, 4, 32, 32, 3, generator=torch.Generator().manual_seed(0)), TINY)
    with torch.no_grad():
        wanted = tiny_model()(maps)
        found = tiny_model().lowered(dtype).cuda()(maps.cuda())
    for name, value in wanted.fields().items():
        error = (found.fields()[name].cpu() - value).abs()
        assert float(error.mean()) < tolerance, name


def test_a_sequence_gives_what_the_cpu_gives(tmp_path: Path) -> None:
    pytest.importorskip("gsplat")
    scenes: list[GaussianSequence] = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        plan = Plan(tiny_model().to(device), tiny_model(4).to(device), 4, "a", Similarity(), {})
        for _ in run_sequence(plan, Movie(7), side_views(TINY.input_size), folder):
            pass
        scene = load_scene(folder / "scene.safetensors")
        assert isinstance(scene, GaussianSequence)
        scenes.append(scene)
    assert scenes[0].num_frames == scenes[1].num_frames == 19
    assert float((scenes[0].means - scenes[1].means).abs().mean()) < 5e-3
    assert float((scenes[0].colors - scenes[1].colors).abs().mean()) < 5e-3
