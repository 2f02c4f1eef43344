"""``chronosplat multiview``: an image or a text to files, and bad input to one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from chronosplat.cli import main
from chronosplat.export import read_ply
from chronosplat.models import find_model, hub
from chronosplat.multiview import VIEW_NAMES, Diffusion, load_given
from tests.l4gm_kit import TINY_LGM, tiny_file
from tests.multiview.kit import VIEW_SIZE, coloured_image, diffusion_folder, needs_extra

FILES = sorted([".chronosplat.json", "back.png", "generated.png", "front.png", "left.png", "object.ply", "report.json", "right.png"])
SIZE = TINY_LGM.input_size


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny networks: imagedream/, mvdream/ and lgm.safetensors."""
    needs_extra()
    folder = tmp_path_factory.mktemp("models")
    for kind in ("imagedream", "mvdream"):
        diffusion_folder(folder / kind, kind)
    tiny_file(folder / "lgm.safetensors", 3, TINY_LGM)
    return folder


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    """An image of an object on white."""
    path = tmp_path / "cat.png"
    Image.fromarray((coloured_image(64) * 255).byte().numpy()).save(path)
    return path


def networks(models: Path, kind: str = "imagedream", steps: int = 1) -> list[str]:
    return ["--diffusion", str(models / kind), "--lgm-weights", str(models / "lgm.safetensors"), "--steps", str(steps)]


def test_an_image_becomes_files(models: Path, cat: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "views"
    assert main(["multiview", str(cat), "-o", str(out), *networks(models, steps=2), "--json", "--seed", "3", "--prompt", "a cat"]) == 0
    said = capfd.readouterr()
    result = json.loads(said.out)
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert result["views"] == [str(out / f"{name}.png") for name in VIEW_NAMES]
    assert result["output"] == str(out)
    report = json.loads((out / "report.json").read_text())
    assert report["azimuth"] == result["azimuth"]
    assert -180 <= report["azimuth"] < 180
    assert (report["input"], report["matting"], report["seed"]) == (str(cat), "auto", 3)
    assert report["generation"] == {"prompt": "a cat", "negative": "", "steps": 2, "guidance": None, "elevation": 0.0}
    with Image.open(out / "generated.png") as sheet:
        assert sheet.size == (4 * VIEW_SIZE, VIEW_SIZE)
    views = load_given([out], SIZE, "none")  # what reconstruct --views reads
    assert views.has_front
    assert views.views.shape == (4, SIZE, SIZE, 3)
    assert float(views.views.std()) > 0.02
    assert len(read_ply(out / "object.ply").opacities) > 10
    assert f"four views in {out}" in said.err
    assert "cat.png: uniform background rgb(255, 255, 255) found and removed" in said.err
    assert [path.name for path in out.parent.iterdir()] == ["views"]


def test_the_libraries_underneath_are_quiet(models: Path, cat: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["multiview", str(cat), "-o", str(tmp_path / "out"), *networks(models)]) == 0
    said = capfd.readouterr()
    assert said.out == ""
    for noise in ("Loading weights", "accelerate", "torch_dtype"):
        assert noise not in said.err


def test_the_same_twice_gives_the_same_bytes(models: Path, cat: Path, tmp_path: Path) -> None:
    arguments = ["multiview", str(cat), *networks(models), "-o"]
    first = tmp_path / "first"
    assert main([*arguments, str(first)]) == 0
    kept = {path.name: path.read_bytes() for path in first.iterdir()}
    assert main([*arguments, str(first)]) == 0  # an earlier result is replaced
    assert {path.name: path.read_bytes() for path in first.iterdir()} == kept
    assert main([*arguments, str(tmp_path / "other"), "--seed", "1"]) == 0
    assert (tmp_path / "other" / "generated.png").read_bytes() != kept["generated.png"]


@pytest.mark.parametrize("kind", ["mvdream", "imagedream"])
def test_a_text_becomes_files(models: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    assert main(["multiview", "--prompt", "a toy robot", "-o", str(out), *networks(models, kind)]) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    report = json.loads((out / "report.json").read_text())
    assert (report["input"], report["azimuth"]) == ("", 0)
    assert report["generation"]["prompt"] == "a toy robot"


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def blank(path: Path) -> Path:
    Image.new("RGB", (64, 64), "white").save(path)
    return path


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


# case: (arguments after the verb, from an image and a folder; words in the message)
TABLE: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    "neither image nor text": (lambda c, t: [], "multiview: no image and no text; give an image, or a --prompt"),
    "no such file": (lambda c, t: [str(t / "nothing.png")], "nothing.png: no such file"),
    "a folder": (lambda c, t: [str(t)], "the output lies inside the input"),
    "not an image": (lambda c, t: [str(put(t / "a.png", b"nope" * 50))], "a.png: cannot be decoded as an image"),
    "blank image": (lambda c, t: [str(blank(t / "a.png"))], "a.png: no object found in"),
    "unknown matting": (lambda c, t: [str(c), "--matting", "magic"], "matting: expected auto, alpha, uniform, rembg, none"),
    "no alpha": (lambda c, t: [str(c), "--matting", "alpha"], "cat.png: has no alpha channel"),
    "other files at the output": (
        lambda c, t: [str(c), "-o", str(put(t / "full" / "a.txt", b"mine").parent)],
        "a.txt was not written by chronosplat",
    ),
    "a file at the output": (lambda c, t: [str(c), "-o", str(put(t / "file", b"mine"))], "is a file; choose a folder as --output"),
    "no steps": (lambda c, t: [str(c), "--steps", "0"], "steps: expected at least 1, got 0"),
    "little guidance": (lambda c, t: [str(c), "--guidance", "0.5"], "guidance: expected 1 or more, got 0.5"),
    "from right above": (lambda c, t: [str(c), "--elevation", "90"], "elevation: expected degrees between -90 and 90, got 90"),
}


def check_refused(arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Exit code 2, the message in the last line, nothing written; returns the lines before."""
    before = sorted(folder.rglob("*"))
    output = [] if "-o" in arguments else ["-o", str(folder / "out")]
    code = main(["multiview", *arguments, *output])
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    *others, line = said.err.strip().splitlines()
    assert line.startswith("chronosplat: ")
    assert message in line
    assert sorted(folder.rglob("*")) == before
    return others


@pytest.mark.parametrize("what", TABLE)
def test_bad_input(what: str, cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = TABLE[what]
    assert check_refused(make(cat, tmp_path), message, tmp_path, capsys) == []


@pytest.mark.parametrize("what", ["a folder without a model", "an image for a text-only model", "pickled weights"])
def test_models_that_do_not_fit(what: str, models: Path, cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--diffusion", str(models / "imagedream"), "--lgm-weights"]
    arguments, message = {
        "a folder without a model": (["--diffusion", str(empty_folder(tmp_path / "bare"))], "bare: not a multi-view diffusion model"),
        "an image for a text-only model": (networks(models, "mvdream"), "mvdream: accepts text only"),
        "pickled weights": ([*folder, str(put(tmp_path / "w.pt", b"PK\3\4pickle" * 9))], "pickled checkpoints are not loaded"),
    }[what]
    check_refused([str(cat), *arguments], message, tmp_path, capsys)


@pytest.mark.parametrize("text", [False, True])
def test_without_a_network_repository_and_place_are_named(
    text: bool, cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", nowhere)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", "/a/cache")
    arguments, repo = (
        (["--prompt", "a cat"], "ashawkey/mvdream-sd2.1-diffusers") if text else ([str(cat)], "ashawkey/imagedream-ipmv-diffusers")
    )
    before = sorted(tmp_path.rglob("*"))
    assert main(["multiview", *arguments, "-o", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"chronosplat: {repo} ")
    for word in (
        "not on this machine and cannot be downloaded (no route to host)",
        "give it as --diffusion",
        "the hub's cache is /a/cache",
    ):
        assert word in line
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_network_lgm_is_named_before_anything_is_generated(
    models: Path, cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no route to host")

    generated: list[object] = []
    monkeypatch.setattr(hub, "hf_hub_download", nowhere)
    monkeypatch.setattr(hub, "get_hf_file_metadata", nowhere)
    monkeypatch.setattr(Diffusion, "generate", lambda *arguments: generated.append(arguments))
    lgm = find_model("lgm").hub
    assert lgm is not None
    check_refused([str(cat), "--diffusion", str(models / "imagedream")], f"{lgm.repo}/{lgm.name} is not on this machine", tmp_path, capsys)
    assert generated == []


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["multiview", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for word in ("--diffusion", "--lgm-weights", "--prompt", "--negative", "--elevation", "chronosplat multiview cat.png -o views/"):
        assert word in shown
