"""`reconstruct --model l4gm --refine` ends in one body: its files, what resumes, and when the sequence stays one."""

from __future__ import annotations

import json
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.files import MARKER
from chronosplat.pipeline.stages import MANIFEST
from chronosplat.scenes import DeformableGaussians, GaussianSequence, StoredSequence, load_scene, read_metadata
from tests.pipeline.kit import Kit, kit, noticed, report_of, shortened
from tests.refine.kit import in_step

__all__ = ["kit"]
FILES = ["config.yaml", "ply", "preview.mp4", "report.json", "scene.safetensors", "viewer.html", "views"]
BODY = ("--refine", "fast", "--max-frames", "8")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """One run in ``out``, and the same without refinement in ``plain``."""
    made = Kit(tmp_path_factory.mktemp("body"))
    with pytest.MonkeyPatch.context() as patch:
        shortened(patch)
        assert main(made.arguments("--max-frames", "8", output="plain")) == 0
        assert main(made.arguments(*BODY, "--ply")) == 0
    return made


def body_of(folder: Path) -> DeformableGaussians:
    scene = load_scene(folder / "scene.safetensors")
    assert isinstance(scene, DeformableGaussians)
    return scene


def frames_of(folder: Path) -> tuple[int, float]:
    with av.open(str(folder / "preview.mp4")) as container:
        return sum(1 for _ in container.decode(video=0)), float(container.streams.video[0].average_rate or 0)


def test_a_video_becomes_one_body_with_all_its_files(done: Kit) -> None:
    out, report, plain = done.folder / "out", report_of(done.folder / "out"), report_of(done.folder / "plain")
    scene = body_of(out)
    assert scene.seconds == pytest.approx((0.0, 0.7))
    assert report["gaussians"] == scene.num_gaussians
    assert sorted(p.name for p in out.iterdir() if p.name not in (MARKER, MANIFEST)) == FILES
    assert len(list((out / "ply").glob("*.ply"))) == report["facts"]["output_frames"] == 8
    assert frames_of(out) == (8, 10.0)
    facts = report["facts"]["refinement"]
    assert (facts["strategy"], facts["kept"], facts["frames"]) == ("deform", False, 8)
    assert facts["psnr_views"] == pytest.approx(report["psnr_inputs"], abs=0.05)
    assert facts["psnr_views_before"] == pytest.approx(plain["psnr_inputs"], abs=0.05)
    assert report["psnr_inputs"] > plain["psnr_inputs"] + 3
    assert json.loads(read_metadata(out / "scene.safetensors")["refinement"]) == facts


def test_the_strategy_that_auto_chooses_gives_the_same_and_says_so(done: Kit, kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(kit.arguments(*BODY, "--strategy", "deform")) == 0
    assert "one body of" in " ".join(capsys.readouterr().err.split())
    found, expected = (body_of(k.folder / "out").tensors() for k in (kit, done))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_verb_reads_it(done: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, folder = str(done.folder / "out/scene.safetensors"), tmp_path
    assert main(["info", scene, "--json"]) == 0
    assert "DeformableGaussians" in capsys.readouterr().out
    assert main(["export", scene, "-o", f"{folder}/frames/", "--frames", "3"]) == 0
    assert len(list((folder / "frames").glob("*.ply"))) == 3
    assert main(["render", scene, "-o", f"{folder}/turn.mp4", "--frames", "3", "--size", "32", "--device", "cpu"]) == 0
    assert (folder / "turn.mp4").is_file()


def test_interpolated_frames_become_one_body_too(kit: Kit) -> None:
    assert main(kit.arguments(*BODY, "--ply", "--interpolate", "3", "--interp-weights", str(kit.between))) == 0
    out, report = kit.folder / "out", report_of(kit.folder / "out")
    assert body_of(out).seconds == pytest.approx((0.0, 0.7))
    assert report["facts"]["refinement"]["frames"] == report["facts"]["output_frames"] == 22
    assert len(list((out / "ply").glob("*.ply"))) == 22
    assert frames_of(out) == (22, 30.0)


def test_one_frame_becomes_a_static_body(kit: Kit) -> None:
    assert main(kit.arguments("--refine", "fast", "--strategy", "deform", "--max-frames", "1", "--ply")) == 0
    assert body_of(kit.folder / "out").seconds is None
    assert [p.name for p in (kit.folder / "out/ply").glob("*.ply")] == ["frame_0000.ply"]
    assert report_of(kit.folder / "out")["seconds"] is None


def test_a_posed_capture_s_body_lies_in_its_world(kit: Kit) -> None:
    """The comparison in the model's frame and the one in the capture's world agree."""
    split = alternating_canonical(procedural_object(5, "blob"), 32, times=6, samples=1)
    every = [split.inputs, split.targets]
    merged = type(split.inputs)(
        pixels=torch.cat([v.rgba8() for v in every]),
        cameras=type(split.inputs.cameras).cat([v.cameras for v in every]),
        times=torch.cat([v.times for v in every]),
        up=split.inputs.up,
    )
    save_transforms(merged[torch.argsort(merged.times, stable=True)], kit.folder / "capture", "train")
    arguments = ["reconstruct", str(kit.folder / "capture"), "--model", "l4gm", "--weights", str(kit.weights), "--precision", "fp32"]
    assert main([*arguments, "-o", str(kit.folder / "posed"), "--refine", "fast"]) == 0
    report = report_of(kit.folder / "posed")
    assert report["facts"]["refinement"]["psnr_views"] == pytest.approx(report["psnr_inputs"], abs=0.05)
    assert report["psnr_inputs"] > report["facts"]["refinement"]["psnr_views_before"]
    assert body_of(kit.folder / "posed").num_frames is None


def worse_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    def psnr(scene: Any, views: Any, device: Any) -> float:
        return 20.0 if scene.kind == "DeformableGaussians" else 21.0

    monkeypatch.setattr(import_module("chronosplat.refine.from_sequence"), "psnr_on_views", psnr)


def test_a_body_that_matches_the_video_worse_is_left_to_frames(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    worse_bodies(monkeypatch)
    assert main(kit.arguments(*BODY)) == 0
    assert isinstance(load_scene(kit.folder / "out/scene.safetensors"), GaussianSequence)
    assert report_of(kit.folder / "out")["facts"]["refinement"]["strategy"] == "frames"
    (told,) = noticed(kit.folder / "out", "sequence-kept")
    assert told.startswith("input views: sequence 21.00 dB, body 20.00 dB; ")
    assert told.endswith("; the sequence is refined frame by frame; strategy=deform makes a body")


def test_interpolated_frames_stay_as_they_are_where_a_body_is_worse(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    between = ("--interpolate", "3", "--interp-weights", str(kit.between), "--max-frames", "6")
    assert main(kit.arguments(*between, output="plain")) == 0
    worse_bodies(monkeypatch)
    assert main(kit.arguments(*between, "--refine", "fast")) == 0
    same = [(kit.folder / name / "scene.safetensors").read_bytes() for name in ("out", "plain")]
    assert same[0] == same[1]
    assert "interpolated frames have no images" in noticed(kit.folder / "out", "prediction-kept")[0]


def test_a_run_that_was_broken_off_in_the_fit_resumes_there(done: Kit, kit: Kit, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        in_step(30, patch, twice)
        assert main(kit.arguments(*BODY)) == 130
    assert (kit.folder / "out.partial/predicted.safetensors").is_file()
    assert not (kit.folder / "out").exists()
    capsys.readouterr()
    monkeypatch.setattr("chronosplat.pipeline.sequence.run_sequence", None)  # the network does not run again
    assert main(kit.arguments(*BODY)) == 0
    assert "resuming" in capsys.readouterr().err
    first, again = (body_of(k.folder / "out").tensors() for k in (done, kit))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_ctrl_c_keeps_the_body_so_far(kit: Kit, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    shortened(monkeypatch, 200)
    in_step(150, monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    assert main(kit.arguments(*BODY)) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "chronosplat: interrupted; the result so far was saved"
    facts = report_of(kit.folder / "out")["facts"]["refinement"]
    assert facts["stopped"] == "interrupted"
    assert body_of(kit.folder / "out").num_gaussians == facts["gaussians"]
    assert not (kit.folder / "out.partial").exists()


def test_frames_come_from_the_disk_one_by_one(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sequence is never read as a whole."""
    read: list[int] = []
    evaluate = StoredSequence.evaluate

    def counted(self: StoredSequence, seconds: torch.Tensor) -> dict[str, torch.Tensor]:
        read.append(len(seconds.unique()))
        return evaluate(self, seconds)

    monkeypatch.setattr(StoredSequence, "evaluate", counted)
    monkeypatch.setattr(StoredSequence, "tensors", None)
    assert main(kit.arguments(*BODY)) == 0
    assert set(read) == {1}
