"""Quality, single images, memory, the estimate, and the scene that is kept while it improves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from chronosplat.captures import load, load_capture, save_transforms
from chronosplat.events import Events, Notice
from chronosplat.models import find_model
from chronosplat.pipeline import ReconstructConfig, reconstruct_capture
from chronosplat.pipeline.config import QUALITIES, quality_of, refine_config
from chronosplat.refine import BEST, FAST
from chronosplat.scenes import DeformableGaussians, load_scene
from chronosplat.shapes import InputError
from tests.refine.kit import views


def test_one_word_sets_size_and_refinement_which_may_be_given_instead() -> None:
    mini, l4gm = find_model("4d-lrm-mini"), find_model("l4gm")
    assert [quality.size for quality in QUALITIES.values()] == [128, 512, 1024]
    high = ReconstructConfig("x", quality="high")
    assert getattr(refine_config(high, mini), "steps", 0) == BEST.steps
    assert getattr(refine_config(ReconstructConfig("x"), mini), "steps", 0) == FAST.steps
    assert getattr(refine_config(ReconstructConfig("x", quality="high", refine="5"), mini), "seconds", 0) == 5
    assert refine_config(high, l4gm) is None
    with pytest.raises(InputError, match="quality: expected draft, standard, high; got 'best'"):
        quality_of(ReconstructConfig("x", quality="best"))


def test_a_single_image_is_a_static_body(tmp_path: Path) -> None:
    disc = torch.full((48, 48, 4), 255, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    inside = (x - 24) ** 2 + (y - 24) ** 2 < 15**2
    disc[..., :3] = torch.tensor([200, 60, 30], dtype=torch.uint8)
    disc[..., 3] = inside * 255
    Image.fromarray(disc.numpy()).save(tmp_path / "disc.png")
    seen = load_capture(tmp_path / "disc.png")
    assert len(seen) == 1
    assert [notice.code for notice in seen.notices][-1] == "single-view"
    report = reconstruct_capture(
        ReconstructConfig(str(tmp_path / "disc.png"), size=48, preview_frames=2, preview_size=32), tmp_path / "out"
    )
    scene = load_scene(tmp_path / "out" / "scene.safetensors")
    assert isinstance(scene, DeformableGaussians)
    assert scene.seconds is None
    assert report.psnr_inputs > 25


def test_images_that_do_not_fit_into_memory_are_refused_with_a_size_that_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_transforms(views(), tmp_path, "train")
    need = 32 * 32 * (24 * load.BYTES_PER_PIXEL + load.WORKING_BYTES)
    monkeypatch.setattr(load, "available_memory", lambda device: need / load.KEEP_FREE / 3)
    with pytest.raises(InputError, match=r"^size: 24 images of 32x32 take about 0\.0 GiB to work with, 0\.0 GiB are free; size=16 fits$"):
        load_capture(tmp_path)
    assert load_capture(tmp_path, size=16).pixels.shape[1] == 16


def test_the_best_scene_so_far_is_kept_beside_the_target_and_work_is_estimated(tmp_path: Path) -> None:
    save_transforms(views(), tmp_path / "capture", "train")
    kept, notices = list[int](), list[Notice]()

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if (tmp_path / "out.partial" / "scene.safetensors").is_file():
            kept.append(load_scene(tmp_path / "out.partial" / "scene.safetensors").num_gaussians)

    config = ReconstructConfig(str(tmp_path / "capture"), refine="fast", preview_frames=2, preview_size=32)
    reconstruct_capture(config, tmp_path / "out", Events(notice=notices.append, progress=progress))
    assert len(kept) > 3
    assert min(kept) > 0
    assert not (tmp_path / "out.partial").exists()
    (estimate,) = [str(notice) for notice in notices if notice.code == "estimate"]
    assert estimate.startswith("refining with 24 images of 32x32: 700 steps, about ")
