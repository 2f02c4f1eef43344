"""``chronosplat eval`` at a tiny size, and its bad input."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.benchmark import EvalConfig, evaluate
from tests.evaluate.kit import mesh_studio
from tests.offline import no_network

TINY = ["--size", "32", "--times", "8"]
CHEAP = ["--methods", "white", "nearest", "feed-forward"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is fetched."""
    no_network(monkeypatch, tmp_path / "no cache")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The folder of an evaluation, and the JSON on stdout."""
    folder = tmp_path_factory.mktemp("eval") / "deep" / "out"
    arguments = ["eval", "procedural:blob", "-o", str(folder), *TINY, *CHEAP, "--setup", "alternating", "random", "--views", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*arguments, "--lpips", "off", "--seed", "4", "--json"]) == 0
    return folder, json.loads(out.getvalue())


def test_everything_is_written(measured: tuple[Path, dict]) -> None:
    folder, printed = measured
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "rows.jsonl", "table.md"]
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [(r["setup"], r["method"]) for r in rows] == [
        *((setup, method) for setup in ("alternating", "random") for method in CHEAP[1:]),
        ("random, 2 views", "feed-forward"),
    ]
    assert printed == {"output": str(folder), "rows": rows, "notices": []}
    assert {(r["capture"], r["seed"], r["lpips"], r["width"]) for r in rows} == {("procedural:blob", 4, None, 32)}
    config = EvalConfig(("procedural:blob",), methods=("white",), setup=("alternating", "random"), size=32, times=8, seed=4, lpips="off")
    white = {row.setup: row for row in evaluate(config).rows}
    for r in rows[:6]:
        if r["method"] == "white":
            assert r["psnr"] == pytest.approx(white[r["setup"]].psnr)
        else:  # 8 dB of the object's own pixels for white, 13.5 to 15.4 for the others
            assert r["psnr_foreground"] > white[r["setup"]].psnr_foreground + 4


def test_table_and_page(measured: tuple[Path, dict]) -> None:
    folder, printed = measured
    lines = (folder / "table.md").read_text().splitlines()
    assert lines[0] == "| set-up | white | nearest | feed-forward |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| alternating", "| random", "| random, 2 views", "| *wall time*"]
    assert f"{printed['rows'][0]['psnr']:.2f}" in lines[2]
    page = (folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "seed 4" in page


def test_without_lpips_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "procedural:blob", "-o", str(tmp_path), *TINY, "--methods", "white", "--setup", "video"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "LPIPS left out: timm/vgg16.tv_in1k/model.safetensors is not on this machine" in shown.err
    assert f"report in {tmp_path / 'report.html'}" in shown.err
    assert "procedural:blob, video, white: " in shown.err
    assert "LPIPS left out" in (tmp_path / "report.html").read_text()


def one_camera_per_moment(folder: Path) -> str:
    """As in D-NeRF, with other timestamps held out."""
    mesh = mesh_studio(8)
    for split, first in (("train", 0), ("test", 1)):
        views = mesh.get_views([mesh.random_view(t, "capture") for t in range(first, 8, 2)])
        save_transforms(views, folder / "dnerf", split)
        path = folder / "dnerf" / f"transforms_{split}.json"
        meta = json.loads(path.read_text())
        for frame, seconds in zip(meta["frames"], views.times.tolist(), strict=True):  # each split's own time starts at its first image
            frame["timestamp"] = seconds
        path.write_text(json.dumps(meta))
    return str(folder / "dnerf")


def test_a_capture_with_one_camera_per_timestamp(tmp_path: Path) -> None:
    arguments = ["eval", one_camera_per_moment(tmp_path), "-o", str(tmp_path / "out"), "--size", "16", "--lpips", "off"]
    assert main([*arguments, "--setup", "random", *CHEAP]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert [(r["inputs"], r["targets"], r["psnr_canonical"], r["flicker"]) for r in rows] == [(4, 4, None, None)] * 3


def put(path: Path) -> str:
    path.write_bytes(b"nope" * 50)
    return str(path)


# what is wrong: arguments from a folder, words in the message
BAD: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no captures": (lambda _: [], "captures: none given; expected .glb files"),
    "unknown set-up": (lambda _: ["procedural:blob", "--setup", "rotaing"], "unknown set-up 'rotaing'; known: alternating,"),
    "unknown method": (lambda _: ["procedural:blob", "--methods", "off"], "unknown method 'off'; methods: white, nearest,"),
    "scratch before fast": (lambda _: ["procedural:blob", "--methods", "scratch=fast", "fast"], "list fast before it"),
    "no methods": (lambda _: ["procedural:blob", "--methods"], "nothing to evaluate: give a method"),
    "no set-ups": (lambda _: ["procedural:blob", "--setup"], "nothing to evaluate: give a set-up"),
    "no views": (lambda _: ["procedural:blob", "--views", "0"], "views: expected at least one input view, got 0"),
    "a video": (lambda t: [put(t / "a.mp4")], "a.mp4: a video has one viewpoint of unknown pose"),
    "a missing file": (lambda t: [str(t / "gone.glb")], "gone.glb: no such file"),
    "a missing folder": (lambda t: [str(t / "gone")], "gone: no such file or folder"),
    "a broken model": (lambda t: [put(t / "a.glb")], "a.glb: not a glTF file"),
    "unknown family": (lambda _: ["procedural:dragon"], "procedural:dragon: unknown family; known: creature"),
    "unknown model": (lambda _: ["procedural:blob", "--model", "4d-lrm-mimi"], "did you mean 4d-lrm-mini"),
    "missing weights": (lambda t: ["procedural:blob", "--weights", str(t / "w.safetensors")], "w.safetensors: no such weights file"),
    "LPIPS without weights": (lambda _: ["procedural:blob", "--lpips", "on"], "vgg16.tv_in1k/model.safetensors is not on this machine"),
    "unknown lpips": (lambda _: ["procedural:blob", "--lpips", "maybe"], "lpips: expected auto, on or off, got 'maybe'"),
    "too small": (lambda _: ["procedural:blob", "--size", "8"], "expected at least 2 times and 16 pixels, got 8 and 8"),
    "unknown device": (lambda _: ["procedural:blob", "--device", "tpu"], "device: expected auto, cpu or cuda; got 'tpu'"),
    "a camera is missing": (
        lambda t: [one_camera_per_moment(t), "--setup", "alternating", "--size", "16"],
        "dnerf: the set-up needs a camera at azimuth",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and the results of an earlier evaluation are as they were."""
    make, message = BAD[what]
    out = tmp_path / "out"
    out.mkdir()
    (out / "rows.jsonl").write_text("earlier\n")
    arguments = make(tmp_path)
    cheap = [("--lpips", "off"), ("--methods", "white"), ("--setup", "video"), ("--size", "16"), ("--times", "8")]
    arguments += [word for option in cheap if option[0] not in arguments for word in option]
    code = main(["eval", *arguments, "-o", str(out)])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("chronosplat: ")
    assert message in lines[0]
    assert [p.name for p in out.iterdir()] == ["rows.jsonl"]
    assert (out / "rows.jsonl").read_text() == "earlier\n"


def test_an_output_that_is_a_file_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("mine")
    assert main(["eval", "procedural:blob", "-o", str(tmp_path / "out"), *TINY, *CHEAP, "--lpips", "off"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert str(tmp_path / "out") in lines[0]
    assert (tmp_path / "out").read_text() == "mine"
