"""A small video, tiny weights and given views on disk: what `reconstruct --model l4gm` needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from chronosplat.export import write_video
from chronosplat.models.l4gm import L4GM
from chronosplat.refine import FAST
from chronosplat.scenes import GaussianSequence, load_scene
from tests.l4gm_kit import tiny_file, write_views

VIDEOS = Path(__file__).parents[2].parent / "shared" / "videos"


def video(path: Path, frames: int = 12, fps: float = 10.0, size: int = 48) -> Path:
    """A block that moves to the right, on white."""
    images = torch.ones(frames, size, size, 3)
    for i, image in enumerate(images):
        left = size // 4 + i % (size // 3)
        image[size // 4 : 3 * size // 4, left : left + size // 4] = torch.tensor([0.8, 0.2, 0.1])
        image[size // 3 : size // 2, left : left + size // 8] = torch.tensor([0.1, 0.2, 0.8])
    write_video(images, path, fps)
    return path


class Kit:
    """Files in a folder, and the arguments that name them."""

    def __init__(self, folder: Path, frames: int = 12) -> None:
        self.folder = folder
        self.video = video(folder / "clip.mp4", frames)
        self.weights = tiny_file(folder / "l4gm.safetensors", 0)
        self.between = tiny_file(folder / "interp.safetensors", 1)
        self.views = write_views(folder / "views")

    def arguments(self, *more: str, input: Path | None = None, output: str = "out") -> list[str]:
        """The command line, with ``more`` at its end. In float32, so that no processor's fast types change the result."""
        arguments = ["reconstruct", str(input or self.video), "--model", "l4gm", "--weights", str(self.weights)]
        return [*arguments, "--views", str(self.views), "--chunk", "5", "--precision", "fp32", "-o", str(self.folder / output), *more]


def scene_of(folder: Path) -> GaussianSequence:
    """The sequence in a result."""
    scene = load_scene(folder / "scene.safetensors")
    assert isinstance(scene, GaussianSequence)
    return scene


def report_of(folder: Path) -> dict[str, Any]:
    """The report in a result."""
    return json.loads((folder / "report.json").read_text())


def noticed(folder: Path, code: str) -> list[str]:
    """The texts of a report's notices with a code."""
    return [notice["text"] for notice in report_of(folder)["notices"] if notice["code"] == code]


def shortened(monkeypatch: pytest.MonkeyPatch, steps: int = 120) -> None:
    """Refinements of so many steps, without a search; a body that stays behind after so few counts."""
    monkeypatch.setattr(import_module("chronosplat.refine.from_sequence"), "FOLLOWED", 0.0)
    short = replace(FAST, steps=steps, search=0.0)
    monkeypatch.setattr("chronosplat.pipeline.config.refinement", lambda how: None if how == "off" else short)


@contextmanager
def interrupted_at_pass(number: int) -> Iterator[None]:
    """A Ctrl-C at the beginning of a forward pass of LGM or L4GM: where views are given, the second is that of the second chunk."""
    passes = 0

    def interrupt(module: torch.nn.Module, _inputs: object) -> None:
        nonlocal passes
        passes += isinstance(module, L4GM)
        if isinstance(module, L4GM) and passes == number:
            raise KeyboardInterrupt

    hook = register_module_forward_pre_hook(interrupt)
    try:
        yield
    finally:
        hook.remove()


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """Fresh files."""
    return Kit(tmp_path)
