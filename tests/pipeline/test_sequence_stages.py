"""The stages of a reconstruction from video: what each depends on, that each can be repeated, and what is kept."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from chronosplat.cli import main
from chronosplat.events import Events
from chronosplat.files import LOCK, MARKER
from chronosplat.models import find_model
from chronosplat.pipeline import ReconstructConfig, SequenceOptions
from chronosplat.pipeline.report import Journal
from chronosplat.pipeline.sequence import WORKING, planned
from chronosplat.pipeline.sequence_setup import prepared
from chronosplat.pipeline.stages import MANIFEST, Stage, StagedRun, partial_of, staged_run
from tests.multiview.kit import diffusion_folder, needs_extra
from tests.pipeline.kit import Kit, interrupted_at_pass, kit, noticed, report_of, shortened

__all__ = ["kit"]
STAGES = ["views", "reconstruct", "scene", "ply", "page", "preview"]


def config_of(kit: Kit, **changes: Any) -> ReconstructConfig:
    """A short reconstruction with all stages."""
    video = replace(ReconstructConfig("").video, max_frames=6)
    options = SequenceOptions(views=(str(kit.views),), chunk=4, precision="fp32")
    plain = ReconstructConfig(str(kit.video), "l4gm", str(kit.weights), ply=True, preview_size=32, video=video, sequence=options)
    return replace(plain, **changes)


def stages_of(config: ReconstructConfig, run: StagedRun, output: Path) -> list[Stage]:
    """The stages as the pipeline plans them."""
    setup = prepared(config, find_model("l4gm"), run.journal)
    return planned(setup, run, output, run.journal.events)[0]


def stamps_of(kit: Kit, **changes: Any) -> dict[str, str]:
    """The stamps of the stages, by name."""
    run = StagedRun(kit.folder / "none", Journal(Events()))
    return {stage.name: stage.stamp for stage in stages_of(config_of(kit, **changes), run, kit.folder / "out")}


def test_the_stages_are_named(kit: Kit) -> None:
    assert list(stamps_of(kit)) == STAGES
    assert list(stamps_of(kit, ply=False)) == [name for name in STAGES if name != "ply"]


def sequence(kit: Kit, **changes: Any) -> dict[str, SequenceOptions]:
    """The option ``sequence`` with changes."""
    return {"sequence": replace(config_of(kit).sequence, **changes)}


@pytest.mark.parametrize(
    ("what", "first"),
    [
        ("seed", "views"),
        ("matting", "views"),
        ("a view", "views"),
        ("the video", "views"),
        ("max_frames", "reconstruct"),
        ("chunk", "reconstruct"),
        ("precision", "reconstruct"),
        ("the weights", "reconstruct"),
        ("refine", "scene"),
        ("preview_size", "preview"),
        ("nothing", ""),
        ("ply_frames", ""),
        ("the output", ""),
    ],
)
def test_a_change_repeats_the_stages_that_depend_on_it(kit: Kit, what: str, first: str) -> None:
    before, video = stamps_of(kit), config_of(kit).video
    changes: dict[str, Any] = {
        "seed": {"seed": 1},
        "matting": {"video": replace(video, matting="uniform")},
        "max_frames": {"video": replace(video, max_frames=5)},
        "chunk": sequence(kit, chunk=3),
        "precision": sequence(kit, precision="fp16"),
        "refine": {"refine": "fast"},
        "preview_size": {"preview_size": 48},
        "ply_frames": {"ply_frames": 3},
    }.get(what, {})
    touched = {"a view": kit.views / "left.png", "the video": kit.video, "the weights": kit.weights}
    if what in touched:
        shutil.copy(touched[what], kit.folder / "copy")  # the same bytes with another date count as another file
        touched[what].unlink()
        shutil.copy(kit.folder / "copy", touched[what])
    if what == "the output":
        (kit.folder / "out.partial").mkdir()
        (kit.folder / "out.partial/views").write_text("x")
    after = stamps_of(kit, **changes)
    repeated = [name for name in STAGES if after[name] != before[name]]
    assert repeated == (STAGES[STAGES.index(first) :] if first else [])


def ordered(content: bytes) -> bytes:
    """A safetensors file with its header in order: safetensors writes metadata in any."""
    length = int.from_bytes(content[:8], "little")
    return json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode() + content[8 + length :]


def contents(folder: Path) -> dict[str, bytes]:
    """All files that stages made, with their bytes; of the preview its frame count, since x264 may encode one video in two ways."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (LOCK, MANIFEST))
    found = {str(p.relative_to(folder)): ordered(p.read_bytes()) if p.suffix == ".safetensors" else p.read_bytes() for p in files}
    with av.open(io.BytesIO(found["preview.mp4"])) as container:
        return found | {"preview.mp4": bytes(sum(1 for _ in container.decode(video=0)))}


@pytest.mark.parametrize("strategy", ["", "frames", "deform"])
def test_every_stage_can_be_repeated(kit: Kit, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened(monkeypatch)
    output, config = kit.folder / "out", config_of(kit, refine="fast" if strategy else "off", strategy=strategy or "auto")

    def work() -> tuple[dict[str, bytes], dict[str, float]]:
        journal = Journal(Events())
        with staged_run(output, journal) as run:
            run.run(stages_of(config, run, output))
        return contents(run.folder), journal.times

    made, times = work()
    assert list(times) == ["survey", *STAGES]
    assert list(work()[1]) == ["survey"]  # all are done
    manifest = partial_of(output) / MANIFEST
    for stage in STAGES:
        records = json.loads(manifest.read_text())
        records[stage]["done"] = False  # as if the program had been killed before it could say so
        manifest.write_text(json.dumps(records))
        again, times = work()
        assert list(times) == ["survey", stage]
        assert again == made, stage


def test_a_refinement_does_not_touch_the_prediction(kit: Kit) -> None:
    """Unrefined, scene and prediction may be one file under two names."""
    output = kit.folder / "out"

    def work(refine: str) -> dict[str, bytes]:
        with staged_run(output, Journal(Events())) as run:
            run.run(stages_of(config_of(kit, refine=refine, strategy="frames"), run, output))
        return contents(run.folder)

    plain, refined, again = work("off"), work("fast"), work("off")
    assert plain["predicted.safetensors"] == plain["scene.safetensors"] == refined["predicted.safetensors"]
    assert refined["scene.safetensors"] != plain["scene.safetensors"]
    assert again == plain


def test_the_manifest_of_a_result_says_that_all_is_done(kit: Kit) -> None:
    assert main(kit.arguments("--max-frames", "3")) == 0
    records = json.loads((kit.folder / "out" / MANIFEST).read_text())
    assert list(records) == [name for name in STAGES if name != "ply"]
    assert all(record["done"] for record in records.values())
    assert records["reconstruct"]["chunk"] == 3  # of three frames


def test_generated_views_their_notice_and_the_whole_way(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --views: ImageDream and LGM, both tiny; another chunk keeps the views, and the report still tells of them."""
    needs_extra()
    from tests.l4gm_kit import TINY_LGM, tiny_file

    lgm = tiny_file(kit.folder / "lgm.safetensors", 2, TINY_LGM)
    model = diffusion_folder(kit.folder / "diffusion")
    arguments = [
        a
        for a in kit.arguments("--steps", "2", "--diffusion", str(model), "--lgm-weights", str(lgm))
        if a not in ("--views", str(kit.views))
    ]
    with interrupted_at_pass(2):  # LGM has made the views
        assert main(arguments) == 130
    assert "the same command resumes what was finished" in capsys.readouterr().err
    before = (kit.folder / "out.partial/views/back.png").read_bytes()
    assert main([*arguments, "--chunk", "4"]) == 0
    assert "kept: views" in " ".join(capsys.readouterr().err.split())
    assert (kit.folder / "out/views/back.png").read_bytes() == before
    assert "ImageDream and LGM generated the other views" in noticed(kit.folder / "out", "generated-views")[0]
    files = report_of(kit.folder / "out")["files"]
    assert not any(".tmp" in name or name in (MARKER, LOCK, *WORKING) for name in files)
    shutil.rmtree(kit.folder / "out")
    larger = tiny_file(kit.folder / "large.safetensors", 2, type(TINY_LGM)(TINY_LGM.unet, input_size=64, splat_size=32, frames=1))
    assert main([*arguments, "--lgm-weights", str(larger)]) == 2
    assert "lgm: takes 64 pixels, the model 32" in capsys.readouterr().err
