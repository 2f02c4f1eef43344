"""The live viewer in a browser: the timeline moves the scene, playback advances it, and the buttons write files."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import chronosplat as cs
from chronosplat.cameras import orbit
from chronosplat.live import LiveOptions, LiveViewer
from tests.scene_kit import moving_scene, static_scene
from tests.viewer.kit import Browser

pytest.importorskip("viser", reason="viser is not installed")


def sliding() -> cs.Gaussians4D:
    """One large red Gaussian that crosses the picture, and lives all the time."""
    scene = moving_scene(1)
    return replace(
        scene,
        means=torch.zeros(1, 3),
        velocities=torch.tensor([[0.6, 0.0, 0.0]]),
        time_centers=torch.zeros(1),
        time_sigmas=torch.full((1,), 100.0),
        scales=torch.full((1, 3), 0.15),
        opacities=torch.tensor([0.99]),
        colors=torch.tensor([[1.0, 0.0, 0.0]]),
    )


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[LiveViewer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    views = cs.Views(torch.rand(2, 16, 16, 3), torch.ones(2, 16, 16, 1), orbit([0.0, 90.0], 0.0, 16), torch.tensor([2.5, 3.5]).double())
    started = LiveViewer(LiveOptions(port=port), views, tmp_path)
    yield started
    started.stop()


def wait(done: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for a state, whatever the machine's load."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "timed out"
        time.sleep(0.1)


def red_at(browser: Browser, path: Path) -> float:
    """Mean column of the red pixels, as a fraction of the width; NaN if there are none."""
    browser("screenshot", path=str(path))
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    red = (image[..., 0] > 150) & (image[..., 1] < 60) & (image[..., 2] < 60)
    return float(np.nonzero(red)[1].mean()) / image.shape[1] if red.any() else float("nan")


def test_the_timeline_moves_what_the_browser_shows(viewer: LiveViewer, browser: Browser, tmp_path: Path) -> None:
    viewer.show(sliding())
    browser("open", url=viewer.url, width=900, height=600, online=True)
    wait(lambda: np.isfinite(red_at(browser, tmp_path / "a.png")))
    before = red_at(browser, tmp_path / "a.png")
    browser.js("document.querySelectorAll('[role=slider]')[0].focus()")
    for _ in range(12):
        browser("press", key="ArrowRight")
    wait(lambda: viewer.timeline.value == 12)
    wait(lambda: red_at(browser, tmp_path / "b.png") > before + 0.05)
    viewer.playing.value = True
    wait(lambda: viewer.timeline.value not in (12, 13))


def test_buttons_write_what_is_shown(viewer: LiveViewer, tmp_path: Path) -> None:
    scene = replace(static_scene(3), opacities=torch.tensor([0.05, 0.9, 0.9]))
    viewer.show(scene, sliding())
    assert "3 of 3 and 1 of 1 Gaussians" in viewer.stats.content
    viewer.opacity.value = 0.5
    client = Recorder()
    viewer.name.value = "../shown.ply"
    viewer._write(client, viewer._export)
    viewer._write(client, viewer._save)
    assert cs.load_scene(tmp_path / "shown.ply").num_gaussians == 3
    assert cs.load_scene(tmp_path / "shown.safetensors").num_gaussians == 2
    viewer.name.value = "shown.xyz"
    viewer._write(client, viewer._export)
    assert [title for title, _ in client.told] == ["Written", "Written", "Not written"]
    assert "unknown format '.xyz'" in client.told[-1][1]


class Recorder:
    """Keeps the notifications that a client would get."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def add_notification(self, title: str, body: str, **options: object) -> None:
        self.told.append((title, body))
