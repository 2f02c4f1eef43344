"""``data render`` in both forms, and ``data status``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chronosplat.cli import main
from chronosplat.cli.data import DataRender, RenderCapture, RenderShards
from tests.assets.gltf_maker import two_joint_strip

TINY = [
    "--size",
    "8",
    "--samples",
    "1",
    "--frames",
    "3",
    "--fps",
    "3",
    "--rig",
    "studio",
    "--views",
    "2",
    "--workers",
    "1",
    "--motion",
    "0",
]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["fox.glb", "-o", "x"], RenderCapture),
        (["-o", "x", "FOX.GLTF"], RenderCapture),
        (["procedural:blob", "-o", "x"], RenderCapture),
        (["procedural:blob", "-o", "x", "--form", "shards"], RenderShards),
        (["fox.glb", "-o", "x", "--form=shards"], RenderShards),
        (["models/", "-o", "x"], RenderShards),
        (["list.csv", "-o", "s3://bucket/x"], RenderShards),
        (["objaverse", "-o", "x", "--limit", "3"], RenderShards),
    ],
)
def test_the_source_suggests_the_form(arguments: list[str], kind: type) -> None:
    assert type(DataRender.parse(arguments)) is kind


@pytest.mark.parametrize(("model", "word"), [("fox.glb", "--random"), ("models/", "--rig")])
def test_help_shows_all_of_the_form_that_the_source_suggests(model: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        DataRender.parse([model, "--help"])
    shown = capsys.readouterr().out
    assert word in shown
    assert "positional arguments" in shown


def test_a_folder_becomes_a_data_set_whose_status_can_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    two_joint_strip().save(folder).rename(folder / "fox.glb")
    (folder / "cut.glb").write_bytes((folder / "fox.glb").read_bytes()[:-40])
    out = str(tmp_path / "clips")
    assert main(["data", "render", str(folder), "-o", out, *TINY, "--json"]) == 0
    shown = capsys.readouterr()
    made = json.loads(shown.out)
    assert (made["shards"], made["clips"], made["frames"], made["failed"]) == (1, 1, 6, 1)
    assert "1 could not be rendered: 1 x truncated" in " ".join(shown.err.split())
    assert main(["data", "status", out, "--json"]) == 0
    shown = capsys.readouterr()
    status = json.loads(shown.out)
    assert (status["planned_shards"], status["shards"], status["clips"], status["running"]) == (1, 1, 1, False)
    assert list(status["reasons"]["failed"].values()) == [1]
    assert "1 of 1 shards, 1 clips, 6 images" in shown.err
    assert "finished on" in shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data", "render", "nowhere/", "-o", "{}/x"], "nowhere/: no such folder"),
        (["data", "render", "procedural:dragon", "-o", "{}/x", "--form", "shards"], "unknown family"),
        (["data", "render", "procedural:", "-o", "{}/x", "--form", "shards", "--rig", "dome"], "rig 'dome': unknown"),
        (["data", "render", "procedural:", "-o", "{}/x", "--form", "shards", "--engine", "slurm"], "engine 'slurm': unknown"),
        (["data", "render", "procedural:", "-o", "{}/x", "--form", "shards", "--quality", "101"], "quality: expected 0 to 100"),
        (
            ["data", "render", "procedural:", "-o", "{}", "--form", "shards"],
            "holds files of something else; choose a new folder as --output",
        ),
        (["data", "status", "{}"], "no plan.json; give the output of chronosplat data render"),
        (["data", "status", "{}", "--most", "-1"], "most: expected 0 or more"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    assert main([word.format(tmp_path) for word in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chronosplat: ")]
    assert len(lines) == 1
    assert words in lines[0]
    if "slurm" not in arguments:  # the plan is written before the engine starts
        assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]
