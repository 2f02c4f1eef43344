"""A small video, tiny weights and given views on disk: what `reconstruct --model l4gm` needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chronosplat.export import write_video
from tests.l4gm_kit import tiny_file, write_views

VIDEOS = Path(__file__).parents[2].parent / "shared" / "videos"


def video(path: Path, frames: int = 12, fps: float = 10.0, size: int = 48) -> Path:
    """A block that goes to the right, on white."""
    pictures = torch.ones(frames, size, size, 3)
    for i, picture in enumerate(pictures):
        left = size // 4 + i % (size // 3)
        picture[size // 4 : 3 * size // 4, left : left + size // 4] = torch.tensor([0.8, 0.2, 0.1])
        picture[size // 3 : size // 2, left : left + size // 8] = torch.tensor([0.1, 0.2, 0.8])
    write_video(pictures, path, fps)
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
        """The command line, with ``more`` at its end. In float32, so that no processor's fast types change what is found."""
        arguments = ["reconstruct", str(input or self.video), "--model", "l4gm", "--weights", str(self.weights)]
        return [*arguments, "--views", str(self.views), "--chunk", "5", "--precision", "fp32", "-o", str(self.folder / output), *more]


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """Fresh files."""
    return Kit(tmp_path)
