"""Sequences are exported frame by frame: memory does not grow with their length."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from chronosplat.export import export
from chronosplat.scenes import SequenceWriter, StoredSequence
from tests.scene_kit import SECONDS, moving_scene

COUNT, FRAMES = 10_000, 60  # 0.6 MB and 34 MB in memory or in a file
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")


def megabytes(name: str) -> float:
    """An entry of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1e3


def stored(path: Path, frames: int) -> StoredSequence:
    """A sequence on disk."""
    times = torch.linspace(*SECONDS, FRAMES, dtype=torch.float64)[:frames]
    scene = moving_scene(COUNT)
    with SequenceWriter(path, times, COUNT) as writer:
        for index in range(frames):
            writer.write(index, scene.evaluate(times[index : index + 1]))
    return StoredSequence(path)


@pytest.mark.parametrize("name", ["a/", "a.glb", "a.usdc", "a_####.spz"])
def test_a_long_sequence_takes_the_memory_of_a_frame(tmp_path: Path, name: str) -> None:
    if name.endswith("usdc"):
        pytest.importorskip("pxr", reason="usd-core is not installed (extra usd)")
    export(stored(tmp_path / "short.safetensors", 3), tmp_path / "short" / name, up="capture")  # loads libraries
    long = stored(tmp_path / "long.safetensors", FRAMES)
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    export(long, tmp_path / "long" / name, up="capture")
    assert megabytes("VmHWM") - before < 15
    assert sum(file.stat().st_size for file in (tmp_path / "long").rglob("*") if file.is_file()) > 5e6
