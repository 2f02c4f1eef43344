"""The set-ups with targets, timestamps and sizes of their own: dense4, dense8 and dnerf."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
import torch

from chronosplat.captures import Views
from chronosplat.evaluate import benchmark
from chronosplat.evaluate.benchmark import EvalConfig, evaluate
from chronosplat.evaluate.setups import SETUPS
from chronosplat.evaluate.studio import CaptureStudio, Split, Studio, ViewSpec
from tests.evaluate.kit import Knowing, mesh_studio, moved, ring_studio, scene_studio

DENSE = {"dense4": [0.0, 90.0, 180.0, 270.0], "dense8": [0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0]}


@cache
def split(name: str) -> Split:
    return SETUPS[name].split(mesh_studio())


def cameras_of(views: Views) -> Counter[bytes]:
    return Counter(v.double().numpy().round(5).tobytes() for v in views.cameras.viewmats)


@pytest.mark.parametrize("name", DENSE)
def test_dense_inputs_are_static_cameras_at_all_times(name: str) -> None:
    chosen = SETUPS[name].inputs(mesh_studio(), 24)
    assert chosen == [ViewSpec(azimuth, 0.0, t) for t in range(24) for azimuth in DENSE[name]]
    assert sorted(cameras_of(split(name).inputs).values()) == [24] * len(DENSE[name])
    fewer = SETUPS[name].inputs(mesh_studio(), 6)
    assert len(fewer) == 6 * len(DENSE[name])
    assert {fewer[0].frame, fewer[-1].frame} == {0, 23}


@pytest.mark.parametrize("name", DENSE)
def test_dense_targets_are_random_views_and_one_static_camera(name: str) -> None:
    targets = split(name).targets
    assert len(targets) == 48
    assert not split(name).canonical.any()
    counts = cameras_of(targets)
    assert sorted(counts.values()) == [1] * 24 + [24]
    assert Counter(targets.times.tolist()) == dict.fromkeys(mesh_studio().seconds.tolist(), 2)
    assert not cameras_of(split(name).inputs).keys() & counts.keys()
    random = [mesh_studio().random_view(t, "targets") for t in range(24)]
    assert torch.equal(targets[list(range(24))].images, mesh_studio().get_views(random).images)  # those of the other set-ups


def test_dense_targets_do_not_depend_on_the_inputs() -> None:
    assert torch.equal(split("dense4").targets.images, split("dense8").targets.images)


@pytest.mark.parametrize("name", DENSE)
def test_a_capture_needs_the_cameras(name: str) -> None:
    """It has every 15 degrees; its targets are its other cameras."""
    found = SETUPS[name].split(ring_studio(), 8)
    assert len(found.inputs) == 8 * len(DENSE[name])
    assert 8 <= len(found.targets) <= 16
    assert found.tracks is None


def dnerf_studio(times: int) -> Studio:
    return mesh_studio(SETUPS["dnerf"].timestamps(times))


def test_dnerf_asks_for_twenty_views_at_other_times() -> None:
    studio, setup = dnerf_studio(30), SETUPS["dnerf"]
    assert (setup.times, setup.size, setup.timestamps(100)) == (100, 400, 199)
    inputs = setup.inputs(studio, 30)
    assert [spec.frame for spec in inputs] == list(range(0, 59, 2))
    assert len({spec.azimuth for spec in inputs}) == 30
    found = setup.split(studio, 30)
    assert (len(found.inputs), len(found.targets)) == (30, 20)
    assert not set(found.inputs.times.tolist()) & set(found.targets.times.tolist())
    times = found.targets.times
    assert torch.equal(times, times.sort().values)
    assert (float(times[0]), float(times[-1])) == (studio.seconds[1], studio.seconds[57])
    assert not cameras_of(found.inputs).keys() & cameras_of(found.targets).keys()
    assert not found.canonical.any()


def test_a_hundred_input_timestamps_are_every_second_one() -> None:
    class Frames:
        input_frames = tuple(range(199))

        def random_view(self, frame: int, purpose: str, again: int = 0) -> ViewSpec:
            return ViewSpec(1.0, 1.0, frame)

    chosen = SETUPS["dnerf"].inputs(Frames(), 100)
    assert [spec.frame for spec in chosen] == list(range(0, 199, 2))


def test_dnerf_on_a_capture_takes_its_training_views_and_asks_for_its_test_views() -> None:
    mesh = mesh_studio()
    train = mesh.get_views([mesh.random_view(t, "capture") for t in range(0, 24, 2)])
    test = mesh.get_views([mesh.random_view(t, "capture") for t in (3, 9, 15)])
    studio = CaptureStudio("posed", moved(train), moved(test))
    found = SETUPS["dnerf"].split(studio)
    assert torch.equal(found.inputs.images, train.images)
    assert torch.equal(found.targets.images, test.images)


def test_dnerf_without_other_times_asks_for_other_views() -> None:
    studio = mesh_studio()
    found = SETUPS["dnerf"].split(studio)  # 24 timestamps, all with an input
    assert (len(found.inputs), len(found.targets)) == (24, 20)
    assert set(found.targets.times.tolist()) <= set(found.inputs.times.tolist())


def opened(monkeypatch: pytest.MonkeyPatch, **options: int) -> list[tuple[int, int]]:
    """Sizes and timestamps of the studios that an evaluation of all sizes opens, in order."""
    found: list[tuple[int, int]] = []

    def open_studio(capture: str, size: int, times: int, seed: int) -> Studio:
        found.append((size, times))
        return scene_studio(8)

    monkeypatch.setattr(benchmark, "load_model", lambda *_: Knowing(scene_studio(8).scene))
    monkeypatch.setattr(benchmark, "open_studio", open_studio)
    config = EvalConfig(("a",), setup=("random", "video", "dense4", "dense8", "dnerf"), methods=("white",), lpips="off", **options)
    assert len(evaluate(config).rows) == 5
    return found


def test_a_set_up_has_its_own_size_and_times_unless_the_user_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(monkeypatch) == [(128, 24), (256, 24), (400, 199)]
    assert opened(monkeypatch, size=32) == [(32, 24), (32, 199)]
    assert opened(monkeypatch, times=10) == [(128, 10), (256, 10), (400, 19)]
    assert opened(monkeypatch, size=32, times=10) == [(32, 10), (32, 19)]


def test_a_static_camera_shows_flicker_and_dnerf_has_none() -> None:
    config = EvalConfig(("procedural:blob",), setup=("dense4", "dnerf"), methods=("white", "nearest"), size=16, times=6, lpips="off")
    rows = evaluate(config).rows
    assert [(row.setup, row.inputs, row.targets) for row in rows] == [("dense4", 24, 12)] * 2 + [("dnerf", 6, 5)] * 2
    assert all(row.flicker > 0 for row in rows[:2])
    assert all(row.flicker != row.flicker for row in rows[2:])
    assert all(row.psnr == row.psnr_random for row in rows)
    assert [row.silhouette_iou for row in rows[::2]] == [0, 0]
    assert all(0.2 < row.silhouette_iou < 1 for row in rows[1::2])
