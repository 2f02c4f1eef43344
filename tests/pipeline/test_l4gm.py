"""`reconstruct --model l4gm` from end to end, with tiny random weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import torch
from PIL import Image

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.export import read_ply
from chronosplat.files import MARKER
from chronosplat.models.precision import bf16_is_fast
from chronosplat.pipeline.stages import MANIFEST
from chronosplat.scenes import Gaussians3D
from chronosplat.sequences.run import STATE
from tests.pipeline.kit import VIDEOS, Kit, interrupted_at_pass, kit, noticed, report_of, scene_of

__all__ = ["kit"]
FILES = ["config.yaml", "ply", "preview.mp4", "report.json", "scene.safetensors", "viewer.html", "views"]


def test_a_video_becomes_a_sequence_with_all_its_files(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(kit.arguments("--ply", "--json")) == 0
    out = kit.folder / "out"
    printed = json.loads(capsys.readouterr().out)
    report = report_of(out)
    assert printed["output"] == str(out)
    assert sorted(p.name for p in out.iterdir() if p.name not in (MARKER, MANIFEST)) == FILES
    assert sorted(p.name for p in (out / "views").iterdir()) == ["back.png", "front.png", "left.png", "right.png"]
    scene = scene_of(out)
    assert scene.means.shape == (12, 1024, 3)
    torch.testing.assert_close(scene.times, torch.arange(12, dtype=torch.float64) / 10)
    assert [p.name for p in sorted((out / "ply").glob("*.ply"))] == [f"frame_{i:04d}.ply" for i in range(12)]
    ply = read_ply(out / "ply/frame_0007.ply")
    assert isinstance(ply, Gaussians3D)
    seen = scene.frame(7).opacities >= 1 / 255
    torch.testing.assert_close(ply.means, scene.frame(7).means[seen] * torch.tensor([1.0, -1, -1]))  # y down
    assert report["facts"] == {"output_frames": 12, "fps": 10.0, "chunk": 5, "precision": "float32"}
    assert sorted(report["files"]) == sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != MARKER)
    with av.open(str(out / "preview.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
        assert float(container.streams.video[0].average_rate or 0) == 10
    assert not (kit.folder / "out.partial").exists()


def test_three_times_the_frame_rate(kit: Kit) -> None:
    assert main(kit.arguments("--ply", "--interpolate", "3", "--interp-weights", str(kit.between))) == 0
    scene, report = scene_of(kit.folder / "out"), report_of(kit.folder / "out")
    assert scene.num_frames == 34
    torch.testing.assert_close(scene.times, torch.arange(34, dtype=torch.float64) / 30)
    assert report["facts"]["fps"] == 30
    assert len(list((kit.folder / "out/ply").glob("*.ply"))) == 34
    with av.open(str(kit.folder / "out/preview.mp4")) as container:
        assert float(container.streams.video[0].average_rate or 0) == 30


@pytest.mark.parametrize("more", [(), ("--interpolate", "3")])
def test_killed_in_the_middle_and_started_again_the_file_is_the_same(kit: Kit, more: tuple[str, ...]) -> None:
    """Byte for byte. Killed without a chance to tidy up, after the first chunk and before the last."""
    more = (*more, *(("--interp-weights", str(kit.between)) if more else ()), "--ply", "--max-frames", "12")
    assert main(kit.arguments(*more, output="whole")) == 0
    command = [sys.executable, "-c", "import sys; from chronosplat.cli import entry; entry()", *kit.arguments(*more)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = kit.folder / "out.partial"
    for _ in range(6000):
        if (partial / "progress.safetensors").is_file() or process.poll() is not None:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (partial / "progress.safetensors").is_file()
    assert not (kit.folder / "out").exists()
    assert main(kit.arguments(*more)) == 0
    for name in ["scene.safetensors", *(f"ply/frame_{i:04d}.ply" for i in range(12))]:
        assert (kit.folder / "out" / name).read_bytes() == (kit.folder / "whole" / name).read_bytes(), name
    assert not partial.exists()


def test_an_interrupted_run_is_resumed_only_by_the_same_command(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    with interrupted_at_pass(2):
        assert main(kit.arguments("--ply")) == 130
    partial = kit.folder / "out.partial"
    assert (partial / STATE).is_file()
    assert "interrupted; the same command resumes what was finished" in capsys.readouterr().err
    assert main(kit.arguments("--seed", "1")) == 0
    err = " ".join(capsys.readouterr().err.split())
    assert "starting over" in err
    assert main(kit.arguments()) == 0
    assert "resuming" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dancing_robot_fg", "otter-on-surfboard_fg", "sighing_frog_fg"])
def test_real_videos_go_the_whole_way(kit: Kit, name: str) -> None:
    path = VIDEOS / f"{name}.mp4"
    if not path.is_file():
        pytest.skip("shared/videos absent")
    assert main(kit.arguments("--chunk", "16", "--end", "2", input=path)) == 0
    report, scene = report_of(kit.folder / "out"), scene_of(kit.folder / "out")
    frames = {"dancing_robot_fg": 32, "otter-on-surfboard_fg": 30, "sighing_frog_fg": 32}[name]
    assert report["frames"] == scene.num_frames == frames
    assert report["facts"]["fps"] == {32: 16.0, 30: 15.0}[frames]
    assert any("uniform background" in notice["text"] for notice in report["notices"])
    assert bool(torch.isfinite(scene.means).all())


def test_a_posed_capture_brings_its_own_views(kit: Kit) -> None:
    split = alternating_canonical(procedural_object(5, "blob"), 32, times=6, samples=1)
    every = split.inputs, split.targets
    merged = type(split.inputs)(
        *(torch.cat([getattr(v, name) for v in every]) for name in ("images", "alphas")),
        type(split.inputs.cameras).cat([v.cameras for v in every]),
        torch.cat([v.times for v in every]),
        split.inputs.up,
    )
    order = torch.argsort(merged.times, stable=True)
    save_transforms(merged[order], kit.folder / "capture", "train")
    arguments = ["reconstruct", str(kit.folder / "capture"), "--model", "l4gm", "--weights", str(kit.weights)]
    assert main([*arguments, "-o", str(kit.folder / "posed")]) == 0
    report = report_of(kit.folder / "posed")
    assert report["frames"] == 6
    assert "the first timestamp from all four azimuths" in noticed(kit.folder / "posed", "reference-camera")[0]
    front = np.asarray(Image.open(kit.folder / "posed/views/front.png"), dtype=np.float32) / 255
    white = merged[order].on_white()[0].numpy()
    assert float(np.abs(front - white).max()) < 1e-6


def test_given_views_frame_the_video_as_they_are_framed(kit: Kit) -> None:
    """The object fills half of the views' height; the video is framed so, however large the object is in it."""
    assert main(kit.arguments()) == 0
    front = np.asarray(Image.open(kit.folder / "out/views/front.png"), dtype=np.float32)
    high = np.flatnonzero((front.min(-1) < 200).any(1))
    assert (high[0], high[-1] + 1) == (8, 24)
    assert noticed(kit.folder / "out", "framed-like-views")
    (differ,) = [notice for notice in report_of(kit.folder / "out")["notices"] if notice["code"] == "views-differ"]
    assert differ["level"] == "warning"
    assert differ["text"].startswith("the front view and the video's first frame differ")


def test_three_views_take_the_video_s_first_frame_as_the_front(kit: Kit) -> None:
    (kit.views / "front.png").unlink()
    assert main(kit.arguments()) == 0
    front = np.asarray(Image.open(kit.folder / "out/views/front.png"), dtype=np.float32)
    block = front[front.min(-1) < 200]  # red, and in it some blue
    assert float((block[:, 0] > block[:, 2] + 50).mean()) > 0.6
    assert float((block[:, 2] > block[:, 0] + 50).mean()) > 0.1
    assert not noticed(kit.folder / "out", "views-differ")


@pytest.mark.parametrize(
    ("precision", "found"), [("bf16", "bfloat16"), ("fp16", "float16"), ("auto", "bfloat16" if bf16_is_fast("cpu") else "float32")]
)
def test_one_frame_and_lower_precision(kit: Kit, precision: str, found: str) -> None:
    more = ("--interpolate", "3", "--interp-weights", str(kit.between), "--precision", precision)
    assert main(kit.arguments("--max-frames", "1", *more)) == 0
    report = report_of(kit.folder / "out")
    assert report["facts"]["output_frames"] == 1
    assert report["facts"]["precision"] == found


def test_a_run_resumes_with_its_first_chunk_though_memory_is_shorter_now(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = [a for a in kit.arguments("--ply") if a not in ("--chunk", "5")]
    monkeypatch.setattr("chronosplat.sequences.memory.USUAL_CHUNK", 7)
    with interrupted_at_pass(2):
        assert main(free) == 130
    monkeypatch.setattr("chronosplat.sequences.memory.USUAL_CHUNK", 3)
    assert main(free) == 0
    assert "resuming" in capsys.readouterr().err
    assert report_of(kit.folder / "out")["facts"]["chunk"] == 7
