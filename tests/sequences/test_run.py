"""A run over a long video equals the same done by hand, and resumes where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from chronosplat.cameras import Similarity, orbit
from chronosplat.models.l4gm import L4GM, PredictedSplats, input_maps
from chronosplat.render import render
from chronosplat.scenes import Gaussians3D, GaussianSequence, load_scene
from chronosplat.sequences import Plan, run_sequence
from chronosplat.sequences.run import STATE
from tests.l4gm_kit import TINY, tiny_model
from tests.sequences.kit import Movie, side_views

FRAMES, CHUNK = 40, 8
SIZE = TINY.input_size


def plan(between: L4GM | None = None, chunk: int = CHUNK, stamp: str = "a") -> Plan:
    return Plan(tiny_model(), between, chunk, stamp, Similarity(), {"model": "tiny"})


def run(folder: Path, plan: Plan, movie: Movie, stop_after: int | None = None) -> GaussianSequence:
    """Run, at most so many chunks, and read what is there."""
    folder.mkdir(exist_ok=True)
    for count, _ in enumerate(run_sequence(plan, movie, side_views(SIZE), folder), 1):
        if count == stop_after:
            break
    scene = load_scene(folder / "scene.safetensors")
    assert isinstance(scene, GaussianSequence)
    return scene


def seen_around(gaussians: Gaussians3D) -> Tensor:
    return render(gaussians, orbit([0.0, 90.0, 180.0, 270.0], 0.0, SIZE)).rgb.clamp(0, 1)


def at(predicted: PredictedSplats, index: int) -> Gaussians3D:
    return Gaussians3D(**{name: value[0, index] for name, value in predicted.fields().items()})


@torch.no_grad()
def by_hand(model: L4GM, movie: Movie) -> list[Gaussians3D]:
    """Autoregression with the public calls alone."""
    frames: list[Gaussians3D] = []
    sides = side_views(SIZE)
    for first in range(0, FRAMES - 1, CHUNK - 1):
        shown = range(first, min(first + CHUNK, FRAMES))
        rgb = torch.stack([torch.cat([movie.white(SIZE, i)[None], sides[1:]]) for i in shown])
        predicted = model(input_maps(rgb[None], model.config))
        frames += [at(predicted, i) for i in range(0 if first == 0 else 1, len(shown))]
        sides = seen_around(frames[-1])
    return frames


def test_forty_frames_equal_the_same_done_by_hand(tmp_path: Path) -> None:
    movie = Movie(FRAMES)
    scene = run(tmp_path / "a", plan(), movie)
    wanted = by_hand(tiny_model(), movie)
    assert scene.num_frames == len(wanted) == FRAMES
    for index, frame in enumerate(wanted):
        for name, value in frame.tensors().items():
            assert torch.equal(getattr(scene, name)[index], value), (index, name)
    assert torch.equal(scene.times, movie.times)


def test_later_chunks_see_the_last_gaussians_and_not_the_first_frame_s_sides(tmp_path: Path) -> None:
    """Without interpolation, too, which the released script forgets."""
    movie = Movie(2 * CHUNK - 1)
    scene = run(tmp_path / "a", plan(), movie)
    model, sides = tiny_model(), side_views(SIZE)
    rgb = torch.stack([torch.cat([movie.white(SIZE, i)[None], sides[1:]]) for i in range(CHUNK - 1, 2 * CHUNK - 1)])
    with torch.no_grad():
        stale = model(input_maps(rgb[None], model.config))
    assert float((stale.colors[0, -1] - scene.colors[-1]).abs().mean()) > 1e-3


def test_interpolation_joins_pairs_and_chunks_without_a_seam(tmp_path: Path) -> None:
    """Every pair of neighbours is interpolated once, across chunks as well, from the reconstruction seen from the sides."""
    movie, between = Movie(11), tiny_model(4)
    plain = run(tmp_path / "plain", plan(chunk=5), movie)
    scene = run(tmp_path / "more", plan(between, chunk=5), movie)
    assert scene.num_frames == 3 * (plain.num_frames - 1) + 1
    torch.testing.assert_close(scene.times[::3], plain.times)
    torch.testing.assert_close(scene.times.diff(), torch.full((30,), 1 / 30, dtype=torch.float64))
    for pair in range(10):
        ends = [torch.cat([movie.white(SIZE, pair + i)[None], seen_around(plain.frame(pair + i))[1:]]) for i in (0, 1)]
        rgb = torch.stack([torch.lerp(ends[0], ends[1], step / 3) for step in range(4)])
        with torch.no_grad():
            wanted = between(input_maps(rgb[None], between.config))
        for step in range(0 if pair == 0 else 1, 4):
            torch.testing.assert_close(scene.means[3 * pair + step], wanted.means[0, step], atol=1e-5, rtol=0)
            torch.testing.assert_close(scene.colors[3 * pair + step], wanted.colors[0, step], atol=1e-5, rtol=0)


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_run_resumes_with_the_same_numbers(tmp_path: Path, more: bool, stop: int) -> None:
    between = tiny_model(4) if more else None
    movie = Movie(17)
    run(tmp_path / "whole", plan(between, chunk=5), movie)
    run(tmp_path / "parts", plan(between, chunk=5), movie, stop_after=stop)
    movie.reads.clear()
    run(tmp_path / "parts", plan(between, chunk=5), movie)
    assert (tmp_path / "parts/scene.safetensors").read_bytes() == (tmp_path / "whole/scene.safetensors").read_bytes()
    assert movie.reads == list(range(4 * stop, 17))  # nothing before is read, or reconstructed, again


def test_progress_of_another_plan_or_without_its_scene_is_not_used(tmp_path: Path) -> None:
    movie = Movie(9)
    run(tmp_path / "a", plan(chunk=5), movie, stop_after=1)
    movie.reads.clear()
    run(tmp_path / "a", plan(chunk=5, stamp="b"), movie)
    assert movie.reads == list(range(9))
    whole = (tmp_path / "a/scene.safetensors").read_bytes()
    (tmp_path / "a/scene.safetensors").unlink()
    movie.reads.clear()
    run(tmp_path / "a", plan(chunk=5, stamp="b"), movie)
    assert movie.reads == list(range(9))
    assert (tmp_path / "a/scene.safetensors").read_bytes() == whole
    (tmp_path / "a" / STATE).write_bytes(b"damaged")
    movie.reads.clear()
    run(tmp_path / "a", plan(chunk=5, stamp="b"), movie)
    assert movie.reads == list(range(9))
    assert (tmp_path / "a/scene.safetensors").read_bytes() == whole


def test_frames_are_read_once_and_no_more_than_a_chunk_is_held(tmp_path: Path) -> None:
    movie, model = Movie(33), tiny_model()
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[1] // 4))
    ahead: list[int] = []
    (tmp_path / "a").mkdir()
    for progress in run_sequence(Plan(model, None, 9, "a", Similarity(), {}), movie, side_views(SIZE), tmp_path / "a"):
        ahead.append(len(movie.reads) - (progress.added.stop))
    assert movie.reads == list(range(33))
    assert sizes == [9, 9, 9, 9]
    assert max(ahead) == 0


def test_progress_tells_chunks_and_the_frames_they_added(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    steps = list(run_sequence(plan(chunk=5), Movie(12), side_views(SIZE), tmp_path / "a"))
    assert [(p.done, p.chunks) for p in steps] == [(1, 3), (2, 3), (3, 3)]
    assert [i for p in steps for i in p.added] == list(range(12))
    (tmp_path / "b").mkdir()
    steps = list(run_sequence(plan(tiny_model(4), chunk=5), Movie(12), side_views(SIZE), tmp_path / "b"))
    assert [i for p in steps for i in p.added] == list(range(34))
    steps = list(run_sequence(plan(tiny_model(4), chunk=5), Movie(12), side_views(SIZE), tmp_path / "b"))
    assert [(p.done, p.added) for p in steps] == [(3, range(34))]


@pytest.mark.parametrize("more", [False, True])
def test_a_single_frame(tmp_path: Path, more: bool) -> None:
    scene = run(tmp_path / "a", plan(tiny_model(4) if more else None, chunk=1), Movie(1))
    assert scene.num_frames == 1
    assert float(scene.opacities.max()) > 0
