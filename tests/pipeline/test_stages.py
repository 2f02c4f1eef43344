"""Stages in a working folder: what is kept, what is made again, what is refused, and what the manifest says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chronosplat.events import Events, Notice
from chronosplat.files import LOCK, MARKER
from chronosplat.pipeline.report import Journal
from chronosplat.pipeline.stages import MANIFEST, Stage, partial_of, staged_run, stamp_of
from chronosplat.shapes import InputError

STAMPS = {"views": "v", "scene": "s", "ply": "p"}


@dataclass
class Run:
    """A run of toy stages, each of which writes its stamp into a file.

    Attributes:
        ran: stages that ran. said: notices by code.
    """

    output: Path
    ran: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)

    def notice(self, notice: Notice) -> None:
        """Keep a notice."""
        self.said[notice.code] = str(notice)

    def stages(self, folder: Path, stamps: dict[str, str], stop: str) -> list[Stage]:
        """The stages; the one named ``stop`` is interrupted when half of it is written."""

        def make(name: str, stamp: str) -> Callable[[], None]:
            def run() -> None:
                self.ran.append(name)
                if name == stop:
                    (folder / f"{name}.half").write_text(stamp)
                    raise KeyboardInterrupt
                (folder / f"{name}.txt").write_text(stamp)

            return run

        return [Stage(name, stamp, (f"{name}.txt", f"{name}.half"), make(name, stamp)) for name, stamp in stamps.items()]

    def work(self, stamps: dict[str, str] = STAMPS, stop: str = "", publish: bool = False) -> Run:
        """Run the stages, and leave the folder as it is, or publish it."""
        self.ran.clear()
        self.said.clear()
        with staged_run(self.output, Journal(Events(self.notice))) as run:
            run.run(self.stages(run.folder, stamps, stop), chunk=5)
            if publish:
                run.publish(self.output, ["views.txt"])
        return self

    def interrupted(self, stop: str, stamps: dict[str, str] = STAMPS) -> Run:
        """Be interrupted in a stage."""
        with pytest.raises(KeyboardInterrupt):
            self.work(stamps, stop)
        return self

    @property
    def manifest(self) -> dict[str, dict[str, object]]:
        """What the manifest says."""
        return json.loads((partial_of(self.output) / MANIFEST).read_text())

    @property
    def files(self) -> list[str]:
        """What lies in the working folder, without its own files."""
        return sorted(p.name for p in partial_of(self.output).iterdir() if p.name not in (LOCK, MANIFEST))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "out")


def test_the_manifest_says_what_is_done(run: Run) -> None:
    run.interrupted("scene")
    assert {name: record["done"] for name, record in run.manifest.items()} == {"views": True, "scene": False, "ply": False}
    assert {name: record["stamp"] for name, record in run.manifest.items()} == STAMPS
    assert {record["chunk"] for record in run.manifest.values()} == {5}
    assert run.manifest["scene"]["outputs"] == ["scene.txt", "scene.half"]
    run.work()
    assert all(record["done"] for record in run.manifest.values())


def test_the_manifest_exists_before_the_first_stage_runs(run: Run) -> None:
    """A run that is killed in its first stage is not taken for somebody else's folder."""
    run.interrupted("views")
    assert not any(record["done"] for record in run.manifest.values())
    assert run.work().ran == ["views", "scene", "ply"]


def test_the_same_run_resumes_with_the_stage_that_was_interrupted(run: Run) -> None:
    assert run.interrupted("scene").said == {}
    run.work()
    assert run.ran == ["scene", "ply"]
    assert "resuming" in run.said["resuming"]
    assert str(partial_of(run.output)) in run.said["resuming"]
    assert run.work().ran == []


def test_an_interrupted_stage_finds_what_it_had_written(run: Run) -> None:
    run.interrupted("scene")
    assert "scene.half" in run.files
    run.work()
    assert "scene.half" in run.files


@pytest.mark.parametrize("stage", STAMPS)
def test_other_settings_of_a_stage_repeat_it_and_all_that_follow(run: Run, stage: str) -> None:
    run.work()
    names = list(STAMPS)
    later = names[names.index(stage) :]
    run.work(STAMPS | {stage: "other"})
    assert run.ran == later
    assert (partial_of(run.output) / f"{stage}.txt").read_text() == "other"


def test_outputs_of_other_settings_are_gone_before_the_stage_runs(run: Run) -> None:
    run.interrupted("scene")
    run.interrupted("views", {"views": "w", "scene": "t", "ply": "q"})
    assert run.files == ["views.half"]


def test_other_settings_start_over_with_nothing(run: Run) -> None:
    run.work()
    run.work(dict.fromkeys(STAMPS, "other"))
    assert run.ran == list(STAMPS)
    assert "starting over" in run.said["starting-over"]


def test_a_stage_that_is_no_longer_wanted_leaves_nothing(run: Run) -> None:
    run.work()
    run.work({name: STAMPS[name] for name in ("views", "scene")})
    assert run.ran == []
    assert run.files == ["scene.txt", "views.txt"]
    assert set(run.manifest) == {"views", "scene"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stamp": 3}'])
def test_a_manifest_that_cannot_be_read_starts_over(run: Run, content: str) -> None:
    run.work()
    (partial_of(run.output) / MANIFEST).write_text(content)
    run.work({name: STAMPS[name] for name in ("views", "scene")})
    assert run.ran == ["views", "scene"]
    assert run.files == ["scene.txt", "views.txt"]
    assert set(run.manifest) == {"views", "scene"}


def test_litter_of_a_killed_run_goes(run: Run) -> None:
    run.work()
    folder = partial_of(run.output)
    (folder / "ply").mkdir()
    (folder / "ply/.frame_0003.77.tmp.ply").touch()
    (folder / ".views.77.tmp").mkdir()
    run.work()
    assert not [p for p in folder.rglob("*") if ".tmp" in p.name]


def test_a_run_without_a_stage_done_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), staged_run(tmp_path / "out", Journal(Events())):
        raise InputError("refused")
    assert not list(tmp_path.iterdir())


def test_a_second_run_is_kept_out(run: Run) -> None:
    pytest.importorskip("fcntl")
    with staged_run(run.output, Journal(Events())) as first:
        (first.folder / MANIFEST).write_text("{}")
        (first.folder / "mine.txt").touch()
        with pytest.raises(InputError, match=r"out\.partial: another run is at work there"):
            run.work()
        assert (first.folder / "mine.txt").is_file()
    assert run.work().ran == list(STAMPS)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_foreign_files_are_refused_and_left_alone(run: Run, kind: str) -> None:
    folder = partial_of(run.output)
    mine = folder if kind == "file" else folder / "mine.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=r"out\.partial: the working folder exists and was not created by chronosplat"):
        run.work()
    assert mine.read_text() == "mine"


def test_an_empty_folder_is_not_foreign(run: Run) -> None:
    partial_of(run.output).mkdir()
    assert run.work().ran == list(STAMPS)


def test_a_published_run_is_the_result_without_what_is_of_no_use(run: Run) -> None:
    run.work(publish=True)
    assert not partial_of(run.output).exists()
    assert sorted(p.name for p in run.output.iterdir()) == sorted([MARKER, MANIFEST, "ply.txt", "scene.txt"])
    assert run.work(dict.fromkeys(STAMPS, "other"), publish=True).ran == list(STAMPS)  # our own result is replaced
    assert (run.output / "scene.txt").read_text() == "other"


def test_a_foreign_file_in_the_output_is_not_overwritten_and_the_result_is_kept(run: Run) -> None:
    run.work()
    run.output.mkdir()
    (run.output / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt was not written by chronosplat; the finished result is in") as found:
        run.work(publish=True)
    assert (run.output / "mine.txt").read_text() == "mine"
    kept = Path(str(found.value).split(" is in ")[1])
    assert (kept / "scene.txt").read_text() == "s"


def test_stamps_cover_facts_and_files_and_not_the_output(tmp_path: Path) -> None:
    source = tmp_path / "capture"
    source.mkdir()
    (source / "a.png").write_text("a")

    def stamp(facts: object = 1) -> str:
        return stamp_of(facts, [source], source / "out")

    plain = stamp()
    for name in ("out", "out.partial"):
        (source / name).mkdir()
        (source / name / "scene").write_text("x")
    assert stamp() == plain
    assert stamp(2) != plain
    (source / "b.png").write_text("b")
    assert stamp() != plain
