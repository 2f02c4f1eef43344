"""The verbs end to end: what they write, and what they print for programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import chronosplat as cs
from chronosplat.captures import VideoOptions
from chronosplat.cli import main
from chronosplat.export import read_ply
from chronosplat.files import MARKER
from chronosplat.metrics import mean_psnr
from chronosplat.pipeline import ReconstructConfig
from chronosplat.pipeline.posed import load_views
from tests.scene_kit import static_scene
from tests.viewer.kit import read_page

VERBS = ("reconstruct", "multiview", "render", "view", "export", "convert", "edit", "eval", "train")
VERBS += ("data render", "data status", "data pack", "data inspect", "data verify", "demo", "info")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small capture made by ``data render``: 16 fixed views and 2 random ones at 2 times."""
    folder = tmp_path_factory.mktemp("verbs") / "capture"
    arguments = ["data", "render", "procedural:creature", "-o", str(folder), "--seed", "5"]
    assert main([*arguments, "--size", "32", "--frames", "2", "--random", "2", "--samples", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def result(capture: Path) -> Path:
    """Its reconstruction."""
    folder = capture.parent / "result"
    assert (
        main(["reconstruct", str(capture), "-o", str(folder), "--max-frames", "6", "--strategy", "free", "--ply", "--ply-frames", "3"]) == 0
    )
    return folder


def test_data_render_writes_a_capture_that_loads(capture: Path) -> None:
    train, test = cs.load_capture(capture), cs.load_capture(capture, split="test")
    assert (len(train), len(test)) == (32, 4)
    distances = train.cameras.centers.norm(dim=-1)
    assert float((distances - 1.5).abs().max()) < 1e-5
    assert train.seconds == (0.0, 1.0)


def seen_as_white(views: cs.Views) -> float:
    """PSNR of white images in place of views."""
    return mean_psnr(torch.ones_like(views.images), views.on_white())


def test_reconstruct_writes_everything(capture: Path, result: Path) -> None:
    names = sorted(str(p.relative_to(result)) for p in result.rglob("*") if p.is_file() and p.name != MARKER)
    assert names == [
        "config.yaml", "ply/frame_0000.ply", "ply/frame_0001.ply", "ply/frame_0002.ply", "ply/frame_times.json",
        "preview.mp4", "report.json", "scene.safetensors", "viewer.html",
    ]  # fmt: skip
    report = json.loads((result / "report.json").read_text())
    assert report["files"] == names
    scene = cs.load_scene(result / "scene.safetensors")
    assert isinstance(scene, cs.Gaussians4D)
    assert report["gaussians"] == scene.num_gaussians
    assert report["psnr_inputs"] > seen_as_white(cs.load_capture(capture)) + 7  # 18 and 28 dB
    assert "model: " in (result / "config.yaml").read_text()


def test_the_scene_file_renders_held_out_views(capture: Path, result: Path) -> None:
    scene, views = cs.load_scene(result / "scene.safetensors"), cs.load_capture(capture, split="test")
    shown = cs.render(scene, views.cameras, views.times)
    assert mean_psnr(shown.rgb, views.on_white()) > seen_as_white(views) + 2  # 19.5 and 23.7 dB


def test_reconstruct_again_replaces_its_own_result(capture: Path, result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = result.parent / "again"
    for frames in ("1", "2"):
        capsys.readouterr()
        assert main(["reconstruct", str(capture), "-o", str(other), "--max-frames", frames, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["frames"] == int(frames)
    assert json.loads((other / "report.json").read_text())["frames"] == 2


def test_large_captures_are_reduced_with_a_notice(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    arguments = ["data", "render", "procedural:blob", "-o", str(folder)]
    assert main([*arguments, "--size", "136", "--frames", "4", "--random", "0", "--samples", "1"]) == 0
    views = load_views(ReconstructConfig(str(folder), quality="draft"))
    assert len(views) == 64
    assert views.images.shape[1:3] == (128, 128)
    assert "reduced from 136x136 to 128x128" in str(views.notices[0])
    assert load_views(ReconstructConfig(str(folder))).images.shape[1:3] == (136, 136)
    as_asked = load_views(ReconstructConfig(str(folder), quality="draft", size=136, video=VideoOptions(max_frames=50)))
    assert as_asked.images.shape == (50, 136, 136, 3)


def test_one_warning_for_a_single_viewpoint(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(capture), "-o", str(tmp_path / "one"), "--max-frames", "1"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("warning:") == 1
    assert "back of the object is unseen" in said


def test_render_and_export(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = str(result / "scene.safetensors")
    assert main(["render", scene, "-o", str(tmp_path / "a.mp4"), "--frames", "4", "--size", "48", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": str(tmp_path / "a.mp4"), "frames": 4}
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(48, 48)] * 4
    assert main(["export", scene, "-o", str(tmp_path / "a.ply")]) == 0
    assert read_ply(tmp_path / "a.ply").num_gaussians == cs.load_scene(scene).num_gaussians
    for up in ("y", "y-down"):
        assert main(["export", scene, "-o", f"{tmp_path}/{up}/", "--frames", "2", "--up", up]) == 0
        assert sorted(p.name for p in (tmp_path / up).glob("*.ply")) == ["frame_0000.ply", "frame_0001.ply"]
    upright, turned = (read_ply(tmp_path / up / "frame_0001.ply").means for up in ("y", "y-down"))
    torch.testing.assert_close(turned, upright * torch.tensor([1.0, -1, -1]), rtol=0, atol=1e-6)


def test_render_along_paths_from_cameras_and_beside_views(
    capture: Path, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = str(result / "scene.safetensors")

    def frames(output: str, *options: str) -> int:
        capsys.readouterr()
        assert main(["render", scene, "-o", str(tmp_path / output), "--size", "24", *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["frames"]

    assert frames("a.webm", "--path", "bullet", "--seconds", "0.2", "--fps", "10", "--background", "transparent") == 2
    assert frames("depth/", "--passes", "depth", "--cameras", str(capture), "--frames", "3") == 3
    with Image.open(tmp_path / "depth/frame_0002.png") as image:
        assert (image.mode, image.size) == ("I;16", (24, 24))
    assert frames("a.sheet.png", "--compare", str(capture)) == 4  # its test split
    assert main(["export", scene, "-o", str(tmp_path / "b.gif"), "--render.size", "16", "--render.frames", "2"]) == 0
    with Image.open(tmp_path / "b.gif") as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((16, 16), 2)


def test_info_of_the_installation_and_of_files(result: Path, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == cs.__version__
    assert facts["renderer cpu"].startswith("ready")
    assert main(["info", str(result / "scene.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "Gaussians4D"
    assert main(["info", str(capture), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 32


def test_train_writes_weights_that_reconstruct(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "-o", str(tmp_path / "run"), "--steps", "1", "--clips-start", "1", "--workers", "0", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1
    weights = str(tmp_path / "run/weights.safetensors")
    arguments = ["reconstruct", str(capture), "--max-frames", "2", "--refine", "off"]
    assert main([*arguments, "-o", str(tmp_path / "trained"), "--weights", weights]) == 0
    assert main([*arguments, "-o", str(tmp_path / "shipped")]) == 0
    trained, shipped = (cs.load_scene(tmp_path / name / "scene.safetensors") for name in ("trained", "shipped"))
    assert trained.num_gaussians > 0
    assert trained.means.shape != shipped.means.shape or not torch.equal(trained.means, shipped.means)


def test_demo_compares_with_held_out_views(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "-o", str(tmp_path / "demo"), "--size", "64", "--refine", "fast", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["heldout"] == 48
    assert facts["report"]["frames"] == 192
    assert facts["psnr_heldout"] > facts["psnr_nearest"] + 4
    assert facts["psnr_nearest"] > facts["psnr_white"]
    views = cs.load_capture(tmp_path / "demo/capture", split="test")
    with Image.open(tmp_path / "demo/comparison.png") as sheet:
        assert sheet.size == (8 * 64, 2 * 64)
        first = torch.from_numpy(np.asarray(sheet)[:64, :64] / 255.0).float()
    torch.testing.assert_close(first, views.on_white()[0], rtol=0, atol=0.5 / 255 + 1e-6)
    assert len(list((tmp_path / "demo/reconstruction/ply").glob("frame_*.ply"))) == 24
    assert read_page(tmp_path / "demo/reconstruction/viewer.html")[0]["title"] == "creature"


def shown_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert main(arguments) == 0
        listed = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", capsys.readouterr().out, re.M)
        assert listed[: len(VERBS)] == list(VERBS)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == cs.__version__


DATA_VERBS = "data render, data status, data pack, data inspect, data verify"


@pytest.mark.parametrize(("arguments", "problem"), [(["data"], f"data: needs one of {DATA_VERBS}"), (["rendr"], "unknown verb 'rendr'")])
def test_unknown_verbs_are_refused(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"chronosplat: {problem}; see chronosplat --help\n"


def test_the_help_waits_for_no_torch() -> None:
    program = (
        "import sys; from chronosplat.cli import main; main(['--help']); print([m for m in ('torch', 'tyro', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_examples_whose_options_exist(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown_help(verb.split(), capsys)
    assert text.startswith(f"usage: chronosplat {verb} ")
    examples = re.findall(rf"^ +chronosplat {verb}\b(.*)$", text, re.M)
    assert examples
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", re.sub(r"^ +chronosplat .*$", "", text, flags=re.M)))
    for example in examples:
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", example)) <= known, example


def test_convert_takes_the_options_of_the_outputs_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("zstandard")
    source = str(cs.export(static_scene(20), tmp_path / "a.splat"))
    for version, magic in (("3", b"\x1f\x8b"), ("4", b"NGSP")):
        assert main(["convert", source, str(tmp_path / "b.spz"), "--spz.version", version]) == 0
        assert (tmp_path / "b.spz").read_bytes().startswith(magic)
    assert ".spz: positions are rounded" in capsys.readouterr().err


def test_a_damaged_file_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.sog").write_bytes(b"PK\x03\x04")
    assert main(["convert", str(tmp_path / "a.sog"), str(tmp_path / "b.ply")]) == 2
    assert capsys.readouterr().err.lstrip().startswith(f"chronosplat: {tmp_path / 'a.sog'}: not a readable .sog file (BadZipFile")
    assert not (tmp_path / "b.ply").exists()
