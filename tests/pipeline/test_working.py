"""The working folder of a long run: what is kept, what is thrown away, and who may work there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from chronosplat.pipeline.working import LOCK, MARK, finish_folder, stamps_of, working_folder

from chronosplat.cli import main
from chronosplat.pipeline import ReconstructConfig, SequenceOptions
from chronosplat.sequences.run import STATE
from chronosplat.shapes import InputError
from tests.multiview.kit import diffusion_folder, needs_extra
from tests.pipeline.kit import Kit, kit

__all__ = ["kit"]

STAMPS = {"views": "v", "stamp": "s"}


def enter(output: Path, stamps: dict[str, str] = STAMPS, chunk: int = 5, free: bool = False) -> list[str]:
    """Work as a run does that is interrupted, and what it said."""
    said: list[str] = []
    try:
        with working_folder(output, stamps, chunk, free, said.append) as work:
            (work.folder / "views").mkdir(exist_ok=True)
            (work.folder / "views/front.png").touch()
            (work.folder / STATE).write_text(f"{work.chunk}")
            (work.folder / "scene.safetensors").touch()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return said


def test_the_same_run_goes_on(tmp_path: Path) -> None:
    assert enter(tmp_path / "out") == []
    assert enter(tmp_path / "out") == [f"going on with what is in {tmp_path / 'out.partial'}"]


def test_a_chunk_that_was_chosen_freely_stays_and_one_that_is_asked_for_starts_over_with_the_views(tmp_path: Path) -> None:
    enter(tmp_path / "out", chunk=7, free=True)
    assert "going on" in enter(tmp_path / "out", chunk=3, free=True)[0]
    assert (tmp_path / "out.partial" / STATE).read_text() == "7"
    with working_folder(tmp_path / "out", STAMPS, 3, False, lambda _: None) as work:
        assert sorted(p.name for p in work.folder.iterdir()) == sorted([LOCK, MARK, "views"])
        assert work.chunk == 3


def test_other_settings_start_over_with_nothing(tmp_path: Path) -> None:
    enter(tmp_path / "out")
    with working_folder(tmp_path / "out", {"views": "w", "stamp": "t"}, 5, False, lambda _: None) as work:
        assert sorted(p.name for p in work.folder.iterdir()) == sorted([LOCK, MARK])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stamp": 3}'])
def test_a_plan_that_cannot_be_read_starts_over(tmp_path: Path, content: str) -> None:
    enter(tmp_path / "out")
    (tmp_path / "out.partial" / MARK).write_text(content)
    assert "starting over" in enter(tmp_path / "out")[0]
    assert json.loads((tmp_path / "out.partial" / MARK).read_text()) == {**STAMPS, "chunk": 5}


def test_litter_of_a_killed_run_goes(tmp_path: Path) -> None:
    enter(tmp_path / "out")
    (tmp_path / "out.partial/ply").mkdir()
    (tmp_path / "out.partial/ply/.frame_0003.77.tmp.ply").touch()
    (tmp_path / "out.partial/.views.77.tmp").mkdir()
    enter(tmp_path / "out")
    assert not [p for p in (tmp_path / "out.partial").rglob("*") if ".tmp" in p.name]


def test_a_second_run_is_kept_out(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with working_folder(tmp_path / "out", STAMPS, 5, False, lambda _: None) as work:
        (work.folder / STATE).touch()
        with (
            pytest.raises(InputError, match=r"out\.partial: another run is at work there"),
            working_folder(tmp_path / "out", STAMPS, 5, False, lambda _: None),
        ):
            raise AssertionError("worked in a folder that is held")
        assert (work.folder / STATE).is_file()
        finish_folder(work, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_stamps_cover_inputs_and_not_the_output(tmp_path: Path) -> None:
    source = tmp_path / "capture"
    source.mkdir()
    (source / "a.png").write_text("a")

    def stamps(**changes: object) -> dict[str, str]:
        config = ReconstructConfig(**{"input": str(source), "model": "l4gm", **changes})  # pyright: ignore[reportArgumentType]
        return stamps_of(config, [tmp_path / "capture/a.png"], 32, torch.float32, source / "out")

    plain = stamps()
    (source / "out.partial").mkdir()
    (source / "out.partial/scene").write_text("x")
    assert stamps() == plain
    assert stamps(ply=True, preview_size=64) == plain
    assert stamps(seed=1)["views"] != plain["views"]
    chunk = stamps(sequence=SequenceOptions(chunk=3))
    assert chunk["views"] == plain["views"]
    assert chunk["stamp"] != plain["stamp"]
    (source / "b.png").write_text("b")
    assert stamps()["views"] != plain["views"]


def test_generated_views_their_note_and_the_whole_way(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --views: ImageDream and LGM, both tiny; another chunk keeps what they made, and the report still tells of them."""
    needs_extra()
    from tests.l4gm_kit import TINY_LGM, tiny_file

    lgm = tiny_file(kit.folder / "lgm.safetensors", 2, TINY_LGM)
    model = diffusion_folder(kit.folder / "diffusion")
    arguments = [
        a
        for a in kit.arguments("--steps", "2", "--diffusion", str(model), "--lgm-weights", str(lgm))
        if a not in ("--views", str(kit.views))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chronosplat.pipeline.sequence.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert main(arguments) == 2
    assert "the same command goes on" in capsys.readouterr().err
    before = (kit.folder / "out.partial/views/back.png").read_bytes()
    assert main([*arguments, "--chunk", "4"]) == 0
    assert "its views stay" in " ".join(capsys.readouterr().err.split())
    assert (kit.folder / "out/views/back.png").read_bytes() == before
    report = json.loads((kit.folder / "out/report.json").read_text())
    assert any("were generated by ImageDream and LGM" in note for note in report["notes"])
    assert not any(".tmp" in name or name in (MARK, LOCK, STATE) for name in report["files"])
    shutil.rmtree(kit.folder / "out")
    larger = tiny_file(kit.folder / "large.safetensors", 2, type(TINY_LGM)(TINY_LGM.unet, input_size=64, splat_size=32, frames=1))
    assert main([*arguments, "--lgm-weights", str(larger)]) == 2
    assert "lgm: takes 64 pixels, the model 32" in capsys.readouterr().err
