"""The table of bad input: every row ends with exit code 2, one clear line on stderr, and nothing written."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from chronosplat.assets.procedural import procedural_object
from chronosplat.captures import save_transforms
from chronosplat.cli import main
from chronosplat.evaluate.setups import alternating_canonical
from chronosplat.scenes import Gaussians3D, save_scene


@pytest.fixture(scope="module")
def capture_source() -> object:
    """Eight images of a moving object, 24x24."""
    return alternating_canonical(procedural_object(3, "blob"), 24, times=8, samples=1).inputs


@pytest.fixture
def capture(tmp_path: Path, capture_source: object) -> Path:
    """A good capture on disk; rows damage it."""
    save_transforms(capture_source, tmp_path / "good", "train")  # pyright: ignore[reportArgumentType]
    return tmp_path / "good"


def edit(capture: Path, change: Callable[[dict], object]) -> Path:
    path = capture / "transforms_train.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
    return capture


def glb(document: dict, binary: bytes = b"") -> bytes:
    """A GLB container."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def triangle(nan: bool = False) -> tuple[dict, bytes]:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    if nan:
        points[1, 1] = np.nan
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    return document, points.tobytes()


def scene_file(path: Path) -> Path:
    scene = Gaussians3D(torch.zeros(2, 3), torch.ones(2, 4), torch.ones(2, 3), torch.full((2,), 0.5), torch.zeros(2, 3))
    save_scene(scene, path)
    return path


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def swapped(path: Path, old: bytes, new: bytes) -> Path:
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


def not_a_scene(path: Path) -> Path:
    save_file({"x": torch.zeros(1)}, path)
    return path


def required_pointer() -> bytes:
    document, binary = triangle()
    return glb({**document, "extensionsRequired": ["KHR_animation_pointer"]}, binary)


def picture_of_other_size(capture: Path) -> Path:
    Image.new("RGBA", (40, 24)).save(capture / "train/r_0002.png")
    return capture


def no_pose(meta: dict) -> None:
    del meta["frames"][1]["transform_matrix"]


def bent_pose(meta: dict) -> None:
    meta["frames"][0]["transform_matrix"][0][0] = 3.0


# what is wrong: (verb and input from a good capture and a folder, words in the message)
TABLE: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    "no such file": (lambda c, t: ["reconstruct", str(t / "nothing")], "nothing: no such file or folder"),
    "undecodable picture": (
        lambda c, t: ["reconstruct", str(put(c / "train/r_0001.png", b"\x89PNG broken").parents[1])],
        "r_0001.png: cannot be decoded",
    ),
    "undecodable video": (lambda c, t: ["reconstruct", str(put(t / "a.mp4", b"nope" * 50))], "a.mp4: cannot be decoded as a video"),
    "JSON that is no capture": (lambda c, t: ["reconstruct", str(put(t / "a.json", b'{"a": 1}'))], "a.json: not a capture"),
    "frame without a pose": (lambda c, t: ["reconstruct", str(edit(c, no_pose))], "frame 1 has no pose"),
    "pose that is not rigid": (lambda c, t: ["reconstruct", str(edit(c, bent_pose))], "frame 0: its pose is not a rigid transform"),
    "intrinsics not positive": (
        lambda c, t: ["reconstruct", str(edit(c, lambda m: m.update(fl_x=-1.0)))],
        "its focal length or size is not positive",
    ),
    "pictures of different sizes": (
        lambda c, t: ["reconstruct", str(picture_of_other_size(c))],
        "images of different sizes (24x24, 40x24)",
    ),
    "zero frames": (lambda c, t: ["reconstruct", str(edit(c, lambda m: m.update(frames=[])))], "has no frames"),
    "negative size": (lambda c, t: ["reconstruct", str(c), "--size", "-3"], "size: expected a positive number of pixels, got -3"),
    "unknown model": (
        lambda c, t: ["reconstruct", str(c), "--model", "4d-lrm-mimi"],
        "unknown model '4d-lrm-mimi'; did you mean 4d-lrm-mini",
    ),
    "model without weights": (lambda c, t: ["reconstruct", str(c), "--model", "4d-lrm-base"], "no weights were published"),
    "pickled weights": (
        lambda c, t: ["reconstruct", str(c), "--weights", str(put(t / "w.pt", b"PK\3\4pickle" * 9))],
        "pickled checkpoints are not loaded",
    ),
    "unknown device": (lambda c, t: ["reconstruct", str(c), "--device", "tpu"], "device: expected auto, cpu or cuda; got 'tpu'"),
    "truncated GLB": (
        lambda c, t: ["data", "render", str(put(t / "a.glb", glb(*triangle())[:-9])), "-o", str(t / "out")],
        "a.glb: truncated: the header promises",
    ),
    "required extension": (
        lambda c, t: ["data", "render", str(put(t / "a.glb", required_pointer())), "-o", str(t / "out")],
        "requires the unsupported extension KHR_animation_pointer",
    ),
    "NaN in a GLB": (
        lambda c, t: ["data", "render", str(put(t / "a.glb", glb(*triangle(nan=True)))), "-o", str(t / "out")],
        "POSITION holds 1 NaN",
    ),
    "unknown family": (
        lambda c, t: ["data", "render", "procedural:dragon", "-o", str(t / "out")],
        "unknown family; known: creature",
    ),
    "scene of another schema": (
        lambda c, t: ["render", str(swapped(scene_file(t / "s.safetensors"), b'schema":"1"', b'schema":"9"')), "-o", str(t / "out.mp4")],
        "Gaussians3D schema 9, this version reads 1",
    ),
    "unknown camera path": (
        lambda c, t: ["render", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.mp4"), "--path", "spiral"],
        "path: expected orbit, turntable, bullet, dolly, static; got 'spiral'",
    ),
    "unknown pass": (
        lambda c, t: ["render", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.mp4"), "--passes", "rgb", "albedo"],
        "passes: expected rgb, alpha, depth, normal; got 'albedo'",
    ),
    "transparent MP4": (
        lambda c, t: ["render", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.mp4"), "--background", "transparent"],
        "holds no transparency; write .webm, .apng or numbered .png files, or use --background white",
    ),
    "JSON that is no camera path": (
        lambda c, t: ["render", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.mp4"), "--cameras", str(put(t / "p.json", b"{}"))],
        "p.json: not a camera path; expected camera_path (nerfstudio) or frames (transforms JSON)",
    ),
    "video of no frames": (
        lambda c, t: ["render", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.mp4"), "--frames", "0"],
        "frames: expected a positive number, got 0",
    ),
    "scene cut short": (
        lambda c, t: [
            "export",
            str(put(t / "cut.safetensors", scene_file(t / "s.safetensors").read_bytes()[:-7])),
            "-o",
            str(t / "out.ply"),
        ],
        "not a readable safetensors file, or truncated",
    ),
    "not a scene": (
        lambda c, t: ["export", str(not_a_scene(t / "x.safetensors")), "-o", str(t / "out.ply")],
        "but not a chronosplat scene",
    ),
    "unknown format": (
        lambda c, t: ["export", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.fbx")],
        "unknown format '.fbx'; known: .ply",
    ),
    "unknown up": (
        lambda c, t: ["export", str(scene_file(t / "s.safetensors")), "-o", str(t / "out.ply"), "--up", "x"],
        "up: expected auto, capture, y, z, y-down; got 'x'",
    ),
    "training on an empty folder": (lambda c, t: ["train", "-o", str(t / "out"), "--assets", str(c)], "no .glb files to train on"),
}


@pytest.mark.parametrize("what", TABLE)
def test_bad_input(what: str, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = TABLE[what]
    arguments = make(capture, tmp_path)
    if arguments[0] == "reconstruct":
        arguments += ["-o", str(tmp_path / "out")]
    before = sorted(p for p in tmp_path.rglob("*"))
    code = main(arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("chronosplat: ")
    assert message in lines[0]
    assert [p for p in tmp_path.rglob("*") if p not in before] == []


def test_a_full_disk(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("chronosplat.files.save_file", full)
    code = main(["reconstruct", str(capture), "-o", str(tmp_path / "out")])
    assert code == 2
    assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good"]


def test_a_folder_with_other_things_is_not_replaced(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["reconstruct", str(capture), "-o", str(capture / "train")])
    assert code == 2
    assert "lies inside the input" in capsys.readouterr().err
    assert len(list((capture / "train").iterdir())) == 8


def test_size_not_divisible_by_8_is_resized_with_a_notice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], capture_source: object
) -> None:
    views = capture_source.resized(21, 21)  # pyright: ignore[reportAttributeAccessIssue]
    save_transforms(views, tmp_path / "odd", "train")
    assert main(["reconstruct", str(tmp_path / "odd"), "-o", str(tmp_path / "out")]) == 0
    assert "resized from 21x21 to 24x24" in " ".join(capsys.readouterr().err.split())
    assert json.loads((tmp_path / "out/report.json").read_text())["frames"] == 8
