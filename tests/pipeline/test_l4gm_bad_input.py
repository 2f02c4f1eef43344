"""The table of bad input for `reconstruct --model l4gm`: one clear line, exit code 2, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from chronosplat.cli import main
from chronosplat.export import write_video
from chronosplat.models.l4gm import L4GMConfig
from tests.l4gm_kit import TINY, tiny_file
from tests.offline import no_network
from tests.pipeline.kit import Kit, kit

__all__ = ["kit"]


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def only_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=44100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def blank(path: Path) -> Path:
    write_video(torch.ones(4, 32, 32, 3), path, 10)
    return path


def transparent(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgba"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 4), np.uint8), format="rgba")))
        container.mux(stream.encode())
    return path


def late_object(path: Path) -> Path:
    images = torch.ones(8, 32, 32, 3)
    images[4:, 8:24, 8:24] = 0.2
    write_video(images, path, 10)
    return path


def renamed(kit: Kit) -> Path:
    tensors = load_file(kit.weights)
    tensors["unet.strange.weight"] = tensors.pop("unet.conv_in.weight")
    save_file(tensors, kit.folder / "other.safetensors")
    return kit.folder / "other.safetensors"


def pickled(kit: Kit) -> Path:
    torch.save(load_file(kit.weights), kit.folder / "w.pt")
    return kit.folder / "w.pt"


def odd_view(kit: Kit) -> list[str]:
    Image.new("RGB", (40, 20), "white").save(kit.views / "left.png")
    return []


def no_view(kit: Kit) -> list[str]:
    Image.new("RGB", (32, 32), "white").save(kit.views / "left.png")
    return []


def larger(kit: Kit) -> str:
    return str(tiny_file(kit.folder / "large.safetensors", config=L4GMConfig(TINY.unet, input_size=64, splat_size=32)))


# what is wrong: (arguments from the kit, words in the message)
TABLE: dict[str, tuple[Callable[[Kit], list[str]], str]] = {
    "no such video": (lambda k: k.arguments(input=k.folder / "none.mp4"), "none.mp4: no such file"),
    "corrupt video": (lambda k: k.arguments(input=put(k.folder / "a.mp4", b"nope" * 50)), "a.mp4: cannot be decoded as a video"),
    "empty file": (lambda k: k.arguments(input=put(k.folder / "a.mp4", b"")), "a.mp4: cannot be decoded as a video"),
    "only sound": (lambda k: k.arguments(input=only_sound(k.folder / "a.mp4")), "a.mp4: has no video stream, only sound"),
    "nothing to see": (lambda k: k.arguments(input=blank(k.folder / "a.mp4")), "no object found in any of its 4 frames"),
    "transparent": (lambda k: k.arguments(input=transparent(k.folder / "a.mov")), "no object found in any of its 3 frames"),
    "no object at first": (lambda k: k.arguments(input=late_object(k.folder / "a.mp4")), "no object in its first frame; --start 0.400"),
    "span beyond the end": (lambda k: k.arguments("--start", "90"), "has no frames between 90 s and its end"),
    "end before start": (lambda k: k.arguments("--start", "1", "--end", "0.5"), "end: expected to lie after the start"),
    "no fps": (lambda k: k.arguments("--fps", "0"), "fps: expected a number above 0"),
    "unknown matting": (lambda k: k.arguments("--matting", "magic"), "matting: expected auto, alpha, uniform, rembg, none"),
    "alpha that is not there": (lambda k: k.arguments("--matting", "alpha"), "clip.mp4: has no alpha channel"),
    "two views": (
        lambda k: k.arguments("--views", *(str(k.views / f"{n}.png") for n in ("front", "right"))),
        "got 2 (front.png, right.png)",
    ),
    "views of other sizes": (lambda k: [*k.arguments(), *odd_view(k)], "images of different sizes (front.png 32x32, right.png 32x32"),
    "a view of nothing": (lambda k: [*k.arguments(), *no_view(k)], "left.png: no object found in it"),
    "views that are not there": (lambda k: k.arguments("--views", str(k.folder / "nowhere")), "nowhere: no such file or folder"),
    "interpolate by two": (lambda k: k.arguments("--interpolate", "2"), "interpolate: expected 1 (off) or 3"),
    "unknown precision": (lambda k: k.arguments("--precision", "int4"), "precision: expected auto, fp32, bf16, fp16; got 'int4'"),
    "chunk of one": (lambda k: k.arguments("--chunk", "1"), "chunk: expected at least 2 frames"),
    "another architecture": (
        lambda k: k.arguments("--weights", str(renamed(k))),
        "weights of another architecture (lacks unet.conv_in.weight",
    ),
    "other shapes": (
        lambda k: k.arguments("--interpolate", "3", "--interp-weights", larger(k)),
        "its inputs or its number of Gaussians differ from those of",
    ),
    "pickled weights": (lambda k: k.arguments("--weights", str(pickled(k))), "pickled checkpoints are not loaded, convert one"),
    "no weights file": (lambda k: k.arguments("--weights", "none.safetensors"), "none.safetensors: no such weights file"),
    "options of l4gm elsewhere": (
        lambda k: ["reconstruct", str(k.video), "-o", str(k.folder / "out"), "--interpolate", "3", "--views", str(k.views)],
        "4d-lrm-mini takes posed views, or a video alone; leave out --views, --interpolate, or choose --model l4gm",
    ),
    "options of videos for a folder": (
        lambda k: k.arguments("--fps", "5", "--start", "1", input=k.views),
        "not a video; leave out --fps, --start",
    ),
    "views in another order": (
        lambda k: k.arguments("--views", *(str(k.views / f"{n}.png") for n in ("front", "back", "right", "left"))),
        "views: expected in the order front right back left, got front back right left",
    ),
    "a side that lacks": (
        lambda k: (k.arguments(), (k.views / "left.png").rename(k.folder / "gone.png"))[0],
        "has back, front, right, but no left",
    ),
    "views given and generated": (lambda k: k.arguments("--prompt", "a cat"), "views: given, so none are generated; leave out --prompt"),
    "weights that nothing uses": (
        lambda k: k.arguments("--interp-weights", "nofile"),
        "interp_weights: nothing is interpolated; add --interpolate 3",
    ),
    "drawing options elsewhere": (
        lambda k: ["reconstruct", str(k.video), "-o", str(k.folder / "out"), "--steps", "3"],
        "4d-lrm-mini takes posed views, or a video alone; leave out --steps, or choose --model l4gm",
    ),
    "frame by frame between frames": (
        lambda k: k.arguments(*["--refine", "fast", "--strategy", "frames", "--interpolate", "3", "--interp-weights"], str(k.between)),
        "strategy frames: interpolated frames have no images to refine against; use --strategy deform, or leave out --interpolate",
    ),
    "a strategy of other scenes": (
        lambda k: k.arguments("--refine", "fast", "--strategy", "free"),
        "strategy free: a video's sequence takes auto, deform, frames; use --strategy auto",
    ),
    "corrected cameras": (
        lambda k: k.arguments("--refine", "fast", "--refine-cameras"),
        "refine_cameras: the camera of a video's sequence is the model's own; leave out --refine-cameras",
    ),
    "corrected exposure": (
        lambda k: k.arguments("--refine", "fast", "--refine-exposure"),
        "refine_exposure: the images of a video's sequence",
    ),
    "a folder with other things": (lambda k: k.arguments(output="views"), "back.png was not written by chronosplat"),
}


@pytest.mark.parametrize("what", TABLE)
def test_bad_input(what: str, kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = TABLE[what]
    arguments = make(kit)
    before = sorted(kit.folder.rglob("*"))
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chronosplat: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert sorted(kit.folder.rglob("*")) == before


def test_no_network_names_the_file_and_where_it_goes(kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch, kit.folder / "cache")
    arguments = ["reconstruct", str(kit.video), "--model", "l4gm", "--views", str(kit.views), "-o", str(kit.folder / "out")]
    assert main(arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "jiawei011/L4GM/recon.safetensors is not on this machine" in line
    assert line.endswith("or give it as --weights")
    assert main([*arguments, "--weights", str(kit.weights), "--interpolate", "3"]) == 2
    assert "jiawei011/L4GM/interp.safetensors is not on this machine" in capsys.readouterr().err
    without = [a for a in kit.arguments() if a not in ("--views", str(kit.views))]
    assert main(without) == 2
    assert "imagedream" in capsys.readouterr().err.splitlines()[-1]
    assert not (kit.folder / "out.partial").exists()


def test_too_little_memory_says_what_fits(kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from chronosplat.models.l4gm import forward_bytes
    from chronosplat.sequences import memory

    room = (forward_bytes(TINY, 3, torch.float32) + forward_bytes(TINY, 4, torch.float32)) / 2 / memory.KEEP_FREE
    monkeypatch.setattr(memory, "available_memory", lambda _: int(room))
    assert main(kit.arguments()) == 2
    assert "--chunk 3 fits" in capsys.readouterr().err
    assert not (kit.folder / "out.partial").exists()
    assert main(kit.arguments("--chunk", "3")) == 0


def test_foreign_files_in_the_working_folder_are_left_alone(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    (kit.folder / "out.partial").mkdir()
    put(kit.folder / "out.partial/mine.txt", b"mine")
    assert main(kit.arguments()) == 2
    assert "out.partial: the working folder exists and was not created by chronosplat" in capsys.readouterr().err
    assert (kit.folder / "out.partial/mine.txt").read_bytes() == b"mine"


def test_frames_without_an_object_in_the_middle_lead_to_a_warning(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.ones(9, 48, 48, 3)
    images[:4, 12:36, 12:30] = 0.2
    images[6:, 12:36, 12:30] = 0.2
    write_video(images, kit.folder / "gone.mp4", 10)
    assert main(kit.arguments(input=kit.folder / "gone.mp4")) == 0
    assert "the object is missing in 2 of 9 frames, first at 0.40 s" in " ".join(capsys.readouterr().err.split())
