"""``render_to`` and ``export``: names choose formats, and what a format cannot hold is refused."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from chronosplat.captures import Views, save_transforms
from chronosplat.events import Events, Notice
from chronosplat.export import RenderOptions, export, render_to
from chronosplat.export.images import with_source
from chronosplat.export.images.write import FORMATS
from chronosplat.metrics import psnr
from chronosplat.render import render
from chronosplat.scenes import save_scene
from chronosplat.shapes import InputError
from tests.scene_kit import SECONDS, moving_scene, random_cameras, static_scene, tilted_world

SMALL = RenderOptions(frames=3, size=16)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_written_by_render_and_by_export(tmp_path: Path, suffix: str) -> None:
    options = RenderOptions(frames=None if suffix == ".png" else 3, size=16)
    scene = moving_scene(world=tilted_world())
    frames = render_to(scene, tmp_path / f"a{suffix}", options)
    assert frames == (1 if suffix == ".png" else 3)
    export(scene, tmp_path / f"b{suffix}", options=options)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["frames/", "frames", "frames/frame_####.png"])
def test_folders_are_numbered_images(tmp_path: Path, name: str) -> None:
    assert render_to(moving_scene(), f"{tmp_path}/{name}", SMALL) == 3
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == [f"frame_{i:04d}.png" for i in range(3)]
    assert export(moving_scene(), tmp_path / "b_####.png", options=SMALL).name == "b_####.png"
    assert (tmp_path / "b_0001.png").read_bytes() == (tmp_path / "frames/frame_0001.png").read_bytes()


def test_odd_sizes_are_cropped_for_h264(tmp_path: Path) -> None:
    render_to(static_scene(), tmp_path / "a.mp4", RenderOptions(frames=1, size=33, width=47))
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert [(f.width, f.height) for f in video.decode(video=0)] == [(46, 32)]


def test_the_frame_rate_and_duration_are_those_asked_for(tmp_path: Path) -> None:
    assert render_to(moving_scene(), tmp_path / "a.mp4", RenderOptions(size=16, fps=12.5, seconds=2, path="static")) == 25
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert float(video.streams.video[0].average_rate or 0) == 12.5


def compared_capture(folder: Path) -> Views:
    """Renderings of a scene with a little noise, as a capture."""
    scene, cameras = moving_scene(), random_cameras(5, width=24, height=16).to(dtype=torch.float32)
    times = torch.linspace(*SECONDS, 5).double()
    out = render(scene, cameras, times)
    noisy = (out.rgb + 0.1 * torch.rand(out.rgb.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    views = Views(noisy, torch.ones_like(out.alpha), cameras, times)
    save_transforms(views, folder, "train")
    return views


def test_compare_puts_views_beside_renderings(tmp_path: Path) -> None:
    views, scene = compared_capture(tmp_path / "capture"), moving_scene()
    folder = str(tmp_path / "capture")
    notices: list[Notice] = []
    assert render_to(scene, tmp_path / "frames/", RenderOptions(compare=folder), Events(notices.append)) == 5
    for index in range(5):
        with Image.open(tmp_path / f"frames/frame_{index:04d}.png") as image:
            assert image.size == (48, 28)
            pixels = torch.from_numpy(np.asarray(image) / 255)
        torch.testing.assert_close(pixels[:16, :24].float(), views.images[index], rtol=0, atol=0.01)
        expected = render(scene, views.cameras[index], views.times[index : index + 1]).rgb[0]
        assert psnr(pixels[:16, 24:], expected) > 40
        assert float(pixels[16:].min()) < 0.5  # the caption
    assert render_to(scene, tmp_path / "a.sheet.png", RenderOptions(compare=folder, frames=4)) == 4
    assert render_to(scene, tmp_path / "a.mp4", RenderOptions(compare=folder)) == 5


BAD: dict[str, tuple[str, RenderOptions, str]] = {
    "suffix": ("a.obj", SMALL, "a.obj: not an image format; expected .mp4 (H.264 video), .webm"),
    "numbered video": ("a_####.mp4", SMALL, "a_####.mp4: not an image format"),
    "transparent mp4": (
        "a.mp4",
        RenderOptions(background="transparent"),
        "background: .mp4 (H.264 video) holds no transparency; write .webm, .apng or numbered .png files, or use background=white",
    ),
    "many images in one": ("a.png", SMALL, "frames: .png holds one image, not 3; write NAME_####.png or NAME.sheet.png"),
    "fast gif": ("a.gif", RenderOptions(fps=100), "fps: .gif plays up to 50 frames per second, got 100; use fps=50"),
    "compare and cameras": ("a.mp4", RenderOptions(compare="x", cameras="y"), "cameras: not together with compare"),
    "compare and passes": ("a.mp4", RenderOptions(compare="x", passes=("depth",)), "passes: not together with compare"),
    "transparent compare": ("a.apng", RenderOptions(compare="x", background="transparent"), "background: compare needs a colour"),
    "an image too large": ("a.png", RenderOptions(size=1_000_000), "size: an image of 1000000x1000000 takes about 93132.3 GiB"),
    "no capture": ("a.mp4", RenderOptions(compare="nothing"), "nothing: no such file or folder"),
    "no cameras": ("a.mp4", RenderOptions(cameras="nothing"), "nothing: no such file or folder"),
}


@pytest.mark.parametrize(("name", "options", "problem"), BAD.values(), ids=list(BAD))
def test_bad_input_is_refused_and_nothing_is_written(tmp_path: Path, name: str, options: RenderOptions, problem: str) -> None:
    with pytest.raises(InputError) as error:
        render_to(moving_scene(), tmp_path / name, options)
    assert problem in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_to(moving_scene(), tmp_path / "a.mp4", SMALL, Events(progress=stop))
    assert list(tmp_path.iterdir()) == []


def test_times_of_a_capture_outside_the_scene_are_refused(tmp_path: Path) -> None:
    compared_capture(tmp_path / "capture")
    scene = moving_scene(seconds=(2.5, 3.0))
    for options in (RenderOptions(compare=str(tmp_path / "capture")), RenderOptions(cameras=str(tmp_path / "capture"))):
        with pytest.raises(InputError, match=r"lies outside the scene, which spans 2\.5 to 3 s$"):
            render_to(scene, tmp_path / "a.mp4", options)


def test_a_scene_file_knows_its_input_size(tmp_path: Path) -> None:
    save_scene(static_scene(), tmp_path / "a.safetensors", {"input_size": "64"})
    save_scene(static_scene(), tmp_path / "b.safetensors")
    assert with_source(SMALL, tmp_path / "a.safetensors").input_size == 64
    assert with_source(RenderOptions(input_size=8), tmp_path / "a.safetensors").input_size == 8
    assert with_source(SMALL, tmp_path / "b.safetensors") == with_source(SMALL, tmp_path / "c.ply") == SMALL
    assert with_source(None, tmp_path / "a.safetensors") is None
