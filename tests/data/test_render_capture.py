"""Captures of moving meshes: what is written, what is read back, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chronosplat.captures import load_capture
from chronosplat.data.clips import fixed_ring, random_views, render_clip
from chronosplat.data.render import CaptureRig, open_mesh, render_capture
from chronosplat.events import Events
from chronosplat.files import MARKER
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, two_joint_strip

RIG = CaptureRig(size=16, frames=3, random=2, samples=2, seed=4)
SOURCE = "procedural:vehicle"
Y_UP_TO_Z_UP = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered capture."""
    folder = tmp_path_factory.mktemp("captures") / "vehicle"
    assert render_capture(SOURCE, None, RIG, folder) == 3 * (16 + 2)
    return folder


def test_files(capture: Path) -> None:
    names = [MARKER, "report.json", "test", "train", "transforms_test.json", "transforms_train.json"]
    assert sorted(p.name for p in capture.iterdir()) == sorted(names)
    assert len(list((capture / "train").glob("*.png"))) == 16 * 3
    assert len(list((capture / "test").glob("*.png"))) == 2 * 3
    assert [p.name for p in capture.parent.iterdir()] == ["vehicle"]


@pytest.mark.parametrize(("split", "views"), [("train", 16), ("test", 2)])
def test_json(capture: Path, split: str, views: int) -> None:
    meta = json.loads((capture / f"transforms_{split}.json").read_text())
    assert (meta["w"], meta["h"]) == (16, 16)
    assert meta["camera_angle_x"] == pytest.approx(np.deg2rad(49.1), abs=1e-5)
    assert meta["duration"] == pytest.approx(1)
    assert [f["time"] for f in meta["frames"]] == [t for t in (0, 0.5, 1) for _ in range(views)]
    for frame in meta["frames"]:
        with Image.open(capture / (frame["file_path"] + ".png")) as picture:
            assert picture.mode == "RGBA"
            assert picture.size == (16, 16)


def test_report(capture: Path) -> None:
    report = json.loads((capture / "report.json").read_text())
    assert report["source"] == SOURCE
    assert (report["size"], report["frames"], report["random"], report["seed"]) == (16, 3, 2, 4)


def test_poses_are_the_rigs_turned_to_z_up(capture: Path) -> None:
    ring = fixed_ring(16).to_opengl_c2w()
    meta = json.loads((capture / "transforms_train.json").read_text())
    for i, frame in enumerate(meta["frames"]):
        pose = torch.tensor(frame["transform_matrix"])
        torch.testing.assert_close(pose, Y_UP_TO_Z_UP @ ring[i % 16], atol=1e-5, rtol=0)
    assert meta["frames"][0]["transform_matrix"][1][3] == pytest.approx(-1.5, abs=1e-5)  # azimuth 0 stands at -y


@pytest.mark.parametrize("split", ["train", "test"])
def test_load_capture_reads_it_back(capture: Path, split: str) -> None:
    views = load_capture(capture, split)
    ring = fixed_ring(16) if split == "train" else random_views(2, 16, np.random.default_rng(RIG.seed))
    each = len(ring)
    rgba = render_clip(open_mesh(SOURCE, None, RIG.seed), np.array([0, 0.5, 1]), ring, samples=2)[0]
    written = torch.from_numpy(rgba).flatten(0, 1)
    assert len(views) == 3 * each
    assert views.times.tolist() == [t for t in (0, 0.5, 1) for _ in range(each)]
    found = torch.cat([views.images, views.alphas], -1) * 255
    assert torch.equal(found.round().to(torch.uint8), written)
    torch.testing.assert_close(views.cameras.centers[:each], ring.centers @ Y_UP_TO_Z_UP[:3, :3].T, atol=1e-5, rtol=0)
    torch.testing.assert_close(views.cameras.Ks[0], ring.Ks[0], atol=1e-3, rtol=0)
    assert views.up is not None
    assert views.up.tolist() == [0, 0, 1]
    assert views.notices == ()


def test_test_views_follow_the_seed(tmp_path: Path) -> None:
    one = replace(RIG, frames=1, samples=1)
    poses = []
    for k, rig in enumerate((one, one, replace(one, seed=9))):
        render_capture("procedural:blob", None, rig, tmp_path / str(k))
        poses.append((tmp_path / str(k) / "transforms_test.json").read_text())
    assert poses[0] == poses[1] != poses[2]


def test_without_random_views_there_is_no_test_split(tmp_path: Path) -> None:
    assert render_capture(SOURCE, None, replace(RIG, random=0, frames=1), tmp_path / "out") == 16
    assert not (tmp_path / "out" / "transforms_test.json").exists()


def test_start_and_duration_choose_the_stretch(tmp_path: Path) -> None:
    rig = replace(RIG, start=0.25, duration=0.5, random=0)
    render_capture(SOURCE, None, rig, tmp_path / "part")
    views = load_capture(tmp_path / "part")
    assert sorted(set(views.times.tolist())) == pytest.approx([0, 0.25, 0.5])
    rgba = render_clip(open_mesh(SOURCE, None, RIG.seed), np.array([0.25, 0.5, 0.75]), fixed_ring(16), samples=2)[0]
    assert torch.equal((views.alphas[..., 0] * 255).round().to(torch.uint8), torch.from_numpy(rgba[..., 3]).flatten(0, 1))


def test_progress_is_told_once_per_frame(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    events = Events(progress=lambda stage, done, total, note="": told.append((stage, done, total)))
    render_capture(SOURCE, None, replace(RIG, random=0), tmp_path / "out", events)
    assert told == [("rendering", 1, 3), ("rendering", 2, 3), ("rendering", 3, 3)]


def test_a_file_with_its_clips(tmp_path: Path) -> None:
    path = two_joint_strip().save(tmp_path)
    for clip in (None, "bend", "0"):
        assert open_mesh(str(path), clip, 0).duration == 1
    for clip in ("wave", "7"):
        with pytest.raises(InputError, match="it has 1: bend"):
            open_mesh(str(path), clip, 0)
    assert render_capture(str(path), "bend", replace(RIG, random=0), tmp_path / "out") == 48


def test_procedural_sources() -> None:
    assert open_mesh("procedural:gears", None, 1).name == "gears"
    assert np.array_equal(open_mesh("procedural:", None, 1).vertices(0)[0], open_mesh("procedural:", None, 1).vertices(0)[0])
    with pytest.raises(InputError, match=r"unknown family; known: creature, vehicle"):
        open_mesh("procedural:unicorn", None, 1)


# what is refused


@pytest.mark.parametrize("change", [{"size": 7}, {"size": 0}, {"frames": 0}, {"samples": 0}])
def test_bad_sizes_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected size >= 8, frames >= 1, samples >= 1 and random >= 0") as caught:
        render_capture(SOURCE, None, replace(RIG, **change), tmp_path / "out")
    assert str(next(iter(change.values()))) in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_negative_number_of_random_views_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"random >= 0; got .*-1"):
        render_capture(SOURCE, None, replace(RIG, random=-1), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def bad_mesh(folder: Path, kind: str) -> str:
    """A source that cannot be rendered."""
    if kind == "family":
        return "procedural:unicorn"
    if kind == "absent":
        return str(folder / "absent.glb")
    maker = GltfMaker()
    maker.node(mesh=maker.mesh(SQUARE * 0 if kind == "point" else SQUARE, SQUARE_FACES))
    path = maker.save(folder)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "words"), [("family", "unknown family"), ("absent", "no such file"), ("point", "no extent"), ("cut", "truncated")]
)
def test_nothing_is_left_behind_when_the_mesh_is_bad(tmp_path: Path, kind: str, words: str) -> None:
    source, results = bad_mesh(tmp_path, kind), tmp_path / "results"
    results.mkdir()
    with pytest.raises(InputError, match=words):
        render_capture(source, None, RIG, results / "out")
    assert not list(results.iterdir())


def test_an_interruption_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Path] = []
    usual = Image.Image.save

    def save(picture: Image.Image, path: Path, *rest: object, **options: object) -> None:
        if len(saved) == 3:
            raise KeyboardInterrupt
        usual(picture, path, *rest, **options)  # pyright: ignore[reportArgumentType]
        saved.append(Path(path))

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(KeyboardInterrupt):
        render_capture(SOURCE, None, replace(RIG, frames=1), tmp_path / "out")
    assert len(saved) == 3
    assert not list(tmp_path.iterdir())


def test_an_interruption_while_rendering_leaves_nothing(tmp_path: Path) -> None:
    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_capture(SOURCE, None, RIG, tmp_path / "out", Events(progress=progress))
    assert not list(tmp_path.iterdir())


def test_a_foreign_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(InputError, match=r"letters: dear\.txt was not written by chronosplat; move it away, or choose another output"):
        render_capture(SOURCE, None, RIG, tmp_path / "letters")
    assert [p.name for p in (tmp_path / "letters").iterdir()] == ["dear.txt"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("dear")
    with pytest.raises(InputError, match="is a file"):
        render_capture(SOURCE, None, RIG, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "dear"


def test_an_earlier_result_is_replaced_only_by_a_good_one(tmp_path: Path) -> None:
    small = replace(RIG, frames=1, random=0)
    render_capture(SOURCE, None, small, tmp_path / "out")
    before = (tmp_path / "out" / "transforms_train.json").read_text()
    with pytest.raises(InputError, match="unknown family"):
        render_capture("procedural:unicorn", None, small, tmp_path / "out")
    assert (tmp_path / "out" / "transforms_train.json").read_text() == before
    assert render_capture(SOURCE, None, replace(small, frames=2), tmp_path / "out") == 32
    assert len(list((tmp_path / "out" / "train").iterdir())) == 32


def test_an_output_that_is_the_model_or_holds_it_is_refused(tmp_path: Path) -> None:
    path = two_joint_strip().save(tmp_path)
    for output in (path, tmp_path):
        with pytest.raises(InputError, match=r"the output (is|contains) the input|is a file"):
            render_capture(str(path), None, RIG, output)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert render_capture(SOURCE, None, replace(RIG, frames=1, random=0), tmp_path / "out") == 16
    assert (tmp_path / "out" / "report.json").is_file()
