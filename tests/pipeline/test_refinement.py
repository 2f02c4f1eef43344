"""`reconstruct --refine` from end to end, and what it writes."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import load_capture, save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.evaluate.studio import MeshStudio, ViewSpec
from chronosplat.export import read_ply
from chronosplat.files import MARKER
from chronosplat.pipeline.sequence import WORKING
from chronosplat.pipeline.stages import MANIFEST
from chronosplat.refine import FAST
from chronosplat.scenes import DeformableGaussians, Gaussians3D, Gaussians4D, load_scene, read_metadata
from tests.pipeline.kit import Kit, kit, report_of, scene_of
from tests.refine.kit import in_step

__all__ = ["kit"]
FILES = ["config.yaml", "preview.mp4", "report.json", "scene.safetensors", "viewer.html"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight views of a moving object, 24x24."""
    folder = tmp_path_factory.mktemp("refinement") / "capture"
    save_transforms(alternating_canonical(procedural_object(3, "blob"), 24, times=8, samples=1).inputs, folder, "train")
    return folder


@pytest.fixture(scope="module")
def plain(capture: Path) -> Path:
    """The prediction."""
    return reconstructed(capture, "plain", "--refine", "off")


@pytest.fixture(scope="module")
def usual(capture: Path) -> Path:
    """With the default refinement."""
    return reconstructed(capture, "usual")


def reconstructed(capture: Path, name: str, *more: str) -> Path:
    output = capture.parent / name
    small = ["--seed", "4", "--json"]
    assert main(["reconstruct", str(capture), "-o", str(output), *small, *more]) == 0
    return output


def test_it_is_the_default_and_report_and_file_say_what_was_done(usual: Path) -> None:
    report, notes = report_of(usual), read_metadata(usual / "scene.safetensors")
    facts = report["facts"]["refinement"]
    assert facts["strategy"] == "deform"
    assert "from several directions" in facts["why"]
    assert FAST.steps is not None
    assert 0 < facts["steps"] <= FAST.steps
    assert facts["seed"] == 4
    assert report["gaussians"] == facts["gaussians"]
    assert json.loads(notes["refinement"]) == facts
    assert notes["model"] == "4d-lrm-mini"
    assert report["times"]["refine"] > 0
    assert sorted(p.name for p in usual.iterdir()) == sorted([MARKER, *FILES])
    scene = load_scene(usual / "scene.safetensors")
    assert isinstance(scene, DeformableGaussians)
    assert scene.num_gaussians == facts["gaussians"]


def test_a_still_object_becomes_static_and_a_wrong_camera_is_named_once(tmp_path: Path) -> None:
    studio = MeshStudio(procedural_object(13, "creature"), "creature", 32, times=2)
    views = studio.get_views([ViewSpec(45.0 * camera, 30.0 * (camera % 2), 0) for _ in range(3) for camera in range(8)])
    viewmats = views.cameras.viewmats.clone()
    viewmats[2::8, 1, 3] += 0.3
    times = torch.arange(3, dtype=torch.float64).repeat_interleave(8)
    save_transforms(replace(views, cameras=replace(views.cameras, viewmats=viewmats), times=times), tmp_path / "still", "train")
    output = reconstructed(tmp_path / "still", "result", "--refine", "1")
    report = report_of(output)
    told = {notice["code"]: notice["text"] for notice in report["notices"]}
    assert told["still"] == "the object does not move: its 3 timestamps are taken as one"
    assert told["cameras-disagree"].startswith("camera 2 (views 2, 10, 18) contradicts the silhouettes of the others")
    assert "views-disagree" not in told
    assert report["frames"] == 24
    assert load_scene(output / "scene.safetensors").seconds is None


def test_off_leaves_the_prediction(plain: Path, usual: Path) -> None:
    report = report_of(plain)
    assert "refinement" not in report["facts"]
    assert "refine" not in report["times"]
    assert "refinement" not in read_metadata(plain / "scene.safetensors")
    scene = load_scene(plain / "scene.safetensors")
    assert isinstance(scene, Gaussians4D)
    assert report["gaussians"] == scene.num_gaussians
    assert report_of(usual)["facts"]["refinement"]["kept"] is False
    assert report_of(usual)["psnr_inputs"] > report["psnr_inputs"] + 5  # 20.1 and 26.5 dB
    assert 'refine: "off"' in (plain / "config.yaml").read_text()


def test_so_many_seconds(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    folder = reconstructed(capture, "seconds", "--refine", "0.3")
    captured = capsys.readouterr()
    facts = json.loads(captured.out)["facts"]["refinement"]
    assert facts["steps"] >= 1
    assert facts == report_of(folder)["facts"]["refinement"]
    assert facts["kept"] == ("the prediction is kept" in " ".join(captured.err.split()))


BAD = {"nonsense": "expected off, fast, best or a number of seconds, got 'nonsense'", "0": "got 0", "-1": "got -1", "nan": "got nan"}


@pytest.mark.parametrize("refine", BAD)
@pytest.mark.parametrize("model", ["4d-lrm-mini", "l4gm"])
def test_nonsense_is_refused_before_anything_is_written(refine: str, model: str, kit: Kit, capture: Path, capsys: Any) -> None:
    arguments = ["reconstruct", str(capture), "-o", str(kit.folder / "out")] if model != "l4gm" else kit.arguments()
    before = sorted(kit.folder.rglob("*"))
    assert main([*arguments, "--refine", refine]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("chronosplat: refine: ")
    assert BAD[refine] in lines[0]
    assert sorted(kit.folder.rglob("*")) == before


def test_ctrl_c_keeps_a_valid_result(capture: Path, plain: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one stops the refinement; the result is written, and the exit code says that it was interrupted."""
    in_step(1, monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    folder = capture.parent / "interrupted"
    assert main(["reconstruct", str(capture), "-o", str(folder), "--seed", "4", "--json"]) == 130
    captured = capsys.readouterr()
    assert report_of(folder)["facts"]["refinement"]["stopped"] == "interrupted"
    assert report_of(folder)["gaussians"] == report_of(plain)["gaussians"]
    assert json.loads(captured.out)["facts"] == report_of(folder)["facts"]
    assert "stopped early (interrupted)" in " ".join(captured.err.split())
    assert captured.err.strip().splitlines()[-1] == "chronosplat: interrupted; the result so far was saved"


def test_ctrl_c_twice_leaves_nothing(capture: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    in_step(2, monkeypatch, twice)
    before = sorted(capture.parent.iterdir())
    assert main(["reconstruct", str(capture), "-o", str(capture.parent / "left")]) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("chronosplat: interrupted")
    assert sorted(capture.parent.iterdir()) == before


def gaining(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights give Gaussians whose held-out views need not gain: all steps are made."""
    blind = type(FAST)(steps=48, search=0.0)
    monkeypatch.setattr("chronosplat.pipeline.config.refinement", lambda how: None if how == "off" else blind)


def test_l4gm_is_not_refined_by_default(kit: Kit) -> None:
    assert main(kit.arguments()) == 0
    assert "refinement" not in report_of(kit.folder / "out")["facts"]
    assert "refinement" not in read_metadata(kit.folder / "out/scene.safetensors")


def test_l4gm_refines_its_stored_sequence_frame_by_frame(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    gaining(monkeypatch)
    assert main(kit.arguments("--refine", "off", "--max-frames", "6", output="plain")) == 0
    assert main(kit.arguments("--refine", "fast", "--strategy", "frames", "--max-frames", "6", "--ply")) == 0
    out = kit.folder / "out"
    before, after = scene_of(kit.folder / "plain"), scene_of(out)
    assert after.means.shape == before.means.shape
    assert torch.equal(after.times, before.times)
    assert torch.equal(after.world.matrix(), before.world.matrix())
    assert torch.equal(after.colors, before.colors.clamp(0, 1))
    assert not torch.equal(after.means, before.means)
    assert all(bool(t.isfinite().all()) for t in after.tensors().values())
    facts = report_of(out)["facts"]
    assert facts["output_frames"] == 6
    assert facts["refinement"]["strategy"] == "frames"
    assert facts["refinement"]["frames"] == 6
    assert facts["refinement"]["kept"] is False
    assert json.loads(read_metadata(out / "scene.safetensors")["refinement"])["steps"] == 48
    assert report_of(out)["psnr_inputs"] > report_of(kit.folder / "plain")["psnr_inputs"]
    assert sorted(p.name for p in out.iterdir()) == sorted([*FILES, MARKER, MANIFEST, "ply", "views"])
    assert sorted(report_of(out)["files"]) == sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != MARKER)
    assert not (kit.folder / "out.partial").exists()
    for index in (0, 5):
        ply = read_ply(out / f"ply/frame_{index:04d}.ply")
        assert isinstance(ply, Gaussians3D)
        frame = after.frame(index).in_world()
        torch.testing.assert_close(ply.means, frame.means[frame.opacities >= 1 / 255] * torch.tensor([1.0, -1, -1]))  # y down


def test_ctrl_c_keeps_the_frames_that_are_refined(kit: Kit, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    gaining(monkeypatch)
    assert main(kit.arguments("--refine", "off", "--max-frames", "6", output="plain")) == 0
    in_step(20, monkeypatch, lambda: signal.raise_signal(signal.SIGINT))  # in the third of six frames, of eight steps each
    assert main(kit.arguments("--refine", "fast", "--strategy", "frames", "--max-frames", "6")) == 130
    assert capsys.readouterr().err.strip().splitlines()[-1] == "chronosplat: interrupted; the result so far was saved"
    facts = report_of(kit.folder / "out")["facts"]["refinement"]
    assert (facts["stopped"], facts["frames"], facts["steps"]) == ("interrupted", 3, 20)
    before, after = scene_of(kit.folder / "plain"), scene_of(kit.folder / "out")
    assert [not torch.equal(before.means[i], after.means[i]) for i in range(6)] == [True] * 3 + [False] * 3
    assert not (kit.folder / "out.partial").exists()


def test_l4gm_with_the_default_search_keeps_or_gains(kit: Kit) -> None:
    assert main(kit.arguments("--refine", "fast", "--max-frames", "4", output="plain")) == 0
    facts = report_of(kit.folder / "plain")["facts"]["refinement"]
    assert facts["kept"] == (facts["frames"] == 0)
    assert facts["psnr_held_out"] >= facts["psnr_held_out_before"]
    assert sorted(p.name for p in (kit.folder / "plain").iterdir()) == sorted([*FILES, MARKER, MANIFEST, "views"])


@pytest.fixture
def stopped(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """A refined run with PLY files that was interrupted before its report was written."""
    gaining(monkeypatch)
    usual = Path.write_text

    def write_text(path: Path, *arguments: Any, **options: Any) -> int:
        if path.name == "config.yaml":
            raise KeyboardInterrupt
        return usual(path, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", write_text)
        assert main(kit.arguments("--refine", "fast", "--ply", "--max-frames", "4")) == 130
    assert (kit.folder / "out.partial").is_dir()
    return kit


@pytest.mark.parametrize("refine", ["off", "fast"])
def test_a_run_that_follows_an_interrupted_refined_one_is_like_a_fresh_one(stopped: Kit, refine: str) -> None:
    more = ("--refine", refine, "--ply", "--max-frames", "4")
    assert main(stopped.arguments(*more)) == 0
    assert main(stopped.arguments(*more, output="fresh")) == 0
    out, fresh = stopped.folder / "out", stopped.folder / "fresh"
    names = sorted(str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file())
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == names
    for name in ["scene.safetensors", *(f"ply/frame_{i:04d}.ply" for i in range(4))]:
        assert (out / name).read_bytes() == (fresh / name).read_bytes(), name
    assert not set(WORKING) & set(names)


def test_corrections_are_part_of_the_refinement(capture: Path, capsys: Any) -> None:
    folder = reconstructed(capture, "corrected", "--refine", "0.3", "--refine-cameras", "--refine-exposure")
    config = (folder / "config.yaml").read_text()
    assert "refine_cameras: true" in config
    assert "refine_exposure: true" in config
    assert main(["reconstruct", str(capture), "-o", str(folder.parent / "no"), "--refine", "off", "--refine-cameras"]) == 2
    assert "refine_cameras and refine_exposure need a refinement; give --refine fast" in capsys.readouterr().err
    assert not (folder.parent / "no").exists()


def test_corrected_cameras_are_written_as_a_capture_has_them(capture: Path) -> None:
    folder = reconstructed(capture, "cameras", "--refine-cameras", "--refine-exposure")
    given, written = load_capture(capture), json.loads((folder / "cameras.json").read_text())
    assert report_of(folder)["facts"]["refinement"]["kept"] is False
    assert len(written["frames"]) == len(given)
    assert all(len(frame["gain"]) == len(frame["offset"]) == 3 for frame in written["frames"])
    poses = torch.tensor([frame["transform_matrix"] for frame in written["frames"]], dtype=torch.float64)
    original = json.loads((capture / "transforms_train.json").read_text())["frames"]
    wanted = torch.tensor([frame["transform_matrix"] for frame in original], dtype=torch.float64)
    torch.testing.assert_close(poses[0], wanted[0], atol=1e-5, rtol=0)  # the first camera holds the world
    off = (poses - wanted).abs().amax((1, 2))[1:]
    assert float(off.min()) > 1e-6
    assert float(off.max()) < 0.2


def test_strategies_are_forced_and_refused_by_name(capture: Path, kit: Kit, capsys: Any) -> None:
    folder = reconstructed(capture, "gentle", "--strategy", "gentle")
    assert report_of(folder)["facts"]["refinement"]["strategy"] == "gentle"
    assert 'strategy: "gentle"' in (folder / "config.yaml").read_text()
    capsys.readouterr()
    assert main(["reconstruct", str(capture), "-o", str(capture.parent / "no"), "--strategy", "frames"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "strategy frames: cannot run, because the scene has no frames of its own; use --strategy auto" in line
    assert not (capture.parent / "no").exists()
