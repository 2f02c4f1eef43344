"""The edit verb: order, lists, replay, other formats, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import chronosplat as cs
from chronosplat.cli import main
from chronosplat.edit import Crop, Decimate, Move, Scale, edit, edit_kinds, history
from tests.scene_kit import moving_scene, static_scene


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A scene file."""
    cs.save_scene(moving_scene(20), tmp_path / "in.safetensors")
    return tmp_path / "in.safetensors"


def test_edits_apply_in_the_order_of_the_words(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    words = ["crop", "--sphere", "0", "-0.1", "0", "2", "scale", "2", "move", "0", "-1", "0.5", "scale", ".5", "decimate", "7"]
    assert main(["edit", str(scene), "-o", str(out), "--json", *words]) == 0
    steps = [Crop(sphere=(0.0, -0.1, 0.0, 2.0)), Scale(2.0), Move((0.0, -1.0, 0.5)), Scale(0.5), Decimate(7)]
    assert json.loads(capsys.readouterr().out)["edits"] == [step.record() for step in steps]
    wanted, found = edit(cs.load_scene(scene), steps), cs.load_scene(out)
    assert history(found) == steps
    for name, tensor in wanted.tensors().items():
        assert torch.equal(found.tensors()[name], tensor), name


def test_the_list_is_written_as_the_command_line_takes_it(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "crop --sphere 0 0 0 2 --outside floaters --opacity 0.01 --cluster 0 slow-motion 2.5 --start 2.75 recolour --tint 1 0.5 0.25"
    words = words.replace("2 --outside", "0.1 --outside")
    out = tmp_path / "out.safetensors"
    assert main(["edit", str(scene), "-o", str(out), *words.split()]) == 0
    capsys.readouterr()
    assert main(["edit", str(out), "--list"]) == 0
    listed = capsys.readouterr().out
    assert listed.split() == words.split()
    assert main(["edit", str(scene), "-o", str(tmp_path / "again.safetensors"), *listed.split()]) == 0
    assert main(["edit", str(scene), "-o", str(tmp_path / "replayed.safetensors"), "--replay", str(out)]) == 0
    for name in ("again", "replayed"):
        other, wanted = cs.load_scene(tmp_path / f"{name}.safetensors"), cs.load_scene(out)
        assert other.notes == wanted.notes
        assert all(torch.equal(tensor, wanted.tensors()[field]) for field, tensor in other.tensors().items())
    assert main(["info", str(out), "--json"]) == 0
    assert [record["edit"] for record in json.loads(capsys.readouterr().out)["edits"]] == ["crop", "floaters", "slow-motion", "recolour"]


def test_other_formats_are_read_and_written(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ply = tmp_path / "a.ply"
    assert main(["edit", str(scene), "-o", str(ply), "move", "0", "1", "0"]) == 0
    assert "only scene files (.safetensors) list the edits" in " ".join(capsys.readouterr().err.split())
    up = torch.tensor([0.0, -1.0, 0.0])  # a PLY's up axis is -Y
    torch.testing.assert_close(cs.load_scene(ply).at(3.0).means, cs.load_scene(scene).at(3.0).means * torch.tensor([1, -1, -1]) + up)
    assert main(["edit", str(ply), "-o", f"{tmp_path}/frames/", "sample", "--frames", "3", "scale", "2"]) == 0
    assert len(list((tmp_path / "frames").glob("frame_*.ply"))) == 3
    cs.save_scene(static_scene(), tmp_path / "b.safetensors")
    assert (
        main(
            ["edit", f"{tmp_path}/frames/", "-o", str(tmp_path / "c.safetensors"), "merge", str(tmp_path / "b.safetensors"), "--delay", "1"]
        )
        == 0
    )
    assert cs.load_scene(tmp_path / "c.safetensors").num_frames == 3


@pytest.mark.parametrize("name", edit_kinds())
def test_every_edit_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["edit", name, "--help"])
    assert ended.value.code == 0
    assert f"chronosplat edit ... {name}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["edit", "--help"])
    assert name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-o a.safetensors", "edit: no edits were given; write one or more of "),
        ("scale 2", "edit: no output was given; name a file with --output"),
        ("--list scale 2", "edit: a listing changes nothing"),
        ("-o a.safetensors --replay IN", "lists no edits"),
        ("-o a.safetensors crop", "crop: expected a box or a sphere; choose --box or --sphere"),
        ("-o a.safetensors crop --sphere 50 0 0 1", "crop: nothing is left; the centres span "),
        ("-o a.safetensors decimate -3", "decimate: count: expected at least 1, got -3"),
        ("-o a.safetensors move 0 nan 0", "move: by: expected finite numbers, got 0 nan 0"),
        ("-o a.safetensors trim 0 9", "trim: 0 s lies outside the scene, which spans 2.5 to 3.5 s"),
        ("-o a.safetensors merge nothing.ply", "nothing.ply: no such file"),
        ("-o a.xyz scale 2", "unknown format"),
        ("-o a.safetensors floaters --views nowhere", "nowhere: no such file or folder"),
    ],
)
def test_bad_input_ends_with_one_line(
    words: str, message: str, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["edit", str(scene), *words.replace("IN", str(scene)).split()]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.safetensors"]


@pytest.mark.parametrize("words", ["scale", "scale two", "move 1 2", "decimate 2.5", "scale 2 --speed 3"])
def test_words_that_do_not_parse_exit_with_2(words: str, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["edit", str(scene), "-o", "a.safetensors", *words.split()])
    assert ended.value.code == 2
    assert f"chronosplat edit ... {words.split()[0]}" in capsys.readouterr().err
