"""Sequences written frame by frame equal those written at once, in any order, and never load completely."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from chronosplat.cameras import Similarity
from chronosplat.scenes import SPLAT_SHAPES, GaussianSequence, SequenceWriter, StoredSequence, load_scene, read_metadata, save_scene
from chronosplat.shapes import InputError
from tests.scene_kit import law, moving_scene, sequence_scene, similarities, tilted_world

NOTES = {"model": "l4gm", "said": 'a "quote", an umlaut ü and a\nnew line'}


def sequence(frames: int = 5, count: int = 7, seed: int = 0, world: Similarity | None = None) -> GaussianSequence:
    """Random frames; the times are float64, as those of videos are."""
    scene = sequence_scene(frames, count, seed, world)
    return replace(scene, times=scene.times.double() / 3)


def fields_of(scene: GaussianSequence, which: slice | list[int]) -> dict[str, Tensor]:
    return {name: getattr(scene, name)[which] for name in SPLAT_SHAPES}


def write(path: Path, scene: GaussianSequence, runs: Iterable[range], notes: dict[str, str] | None = None) -> bool:
    """Write runs of consecutive frames; return whether an existing file was resumed."""
    with SequenceWriter(path, scene.times, scene.means.shape[1], scene.world, notes) as writer:
        for run in runs:
            writer.write(run.start, fields_of(scene, slice(run.start, run.stop)))
        writer.flush()
        return writer.continued


def everything(scene: GaussianSequence) -> list[range]:
    return [range(scene.num_frames)]


def assert_same(found: object, expected: GaussianSequence) -> None:
    assert isinstance(found, GaussianSequence)
    for name, tensor in expected.tensors().items():
        assert found.tensors()[name].dtype == tensor.dtype, name
        assert torch.equal(found.tensors()[name], tensor), name
    assert torch.equal(found.world.matrix(), expected.world.matrix())
    assert found.world.scale == expected.world.scale


@pytest.mark.parametrize(("frames", "count"), [(5, 7), (1, 1), (1, 0), (3, 0), (1, 4), (2, 1)])
@pytest.mark.parametrize("world", [None, tilted_world()], ids=["plain", "tilted"])
def test_it_reads_like_a_scene_written_by_save_scene(tmp_path: Path, frames: int, count: int, world: Similarity | None) -> None:
    scene = sequence(frames, count, world=world)
    save_scene(scene, tmp_path / "once.safetensors", NOTES)
    assert not write(tmp_path / "steps.safetensors", scene, everything(scene), NOTES)
    once, steps = load_scene(tmp_path / "once.safetensors"), load_scene(str(tmp_path / "steps.safetensors"))
    assert isinstance(once, GaussianSequence)
    assert_same(steps, once)
    assert torch.equal(once.times, scene.times)
    assert read_metadata(tmp_path / "steps.safetensors") == read_metadata(tmp_path / "once.safetensors")
    assert read_metadata(tmp_path / "steps.safetensors")["said"] == NOTES["said"]


@law
@given(similarities(), st.integers(0, 99))
def test_any_world_comes_back_the_same(world: Similarity, seed: int) -> None:
    scene = sequence(2, 2, seed, world)
    with TemporaryDirectory() as folder:
        save_scene(scene, Path(folder) / "once.safetensors")
        write(Path(folder) / "steps.safetensors", scene, everything(scene))
        once = load_scene(Path(folder) / "once.safetensors")
        assert isinstance(once, GaussianSequence)
        assert_same(load_scene(Path(folder) / "steps.safetensors"), once)


@st.composite
def runs(draw: st.DrawFn, frames: int) -> list[range]:
    """All frames in runs of any length, in any order, some of them twice."""
    cuts = [0, *sorted(draw(st.sets(st.integers(1, frames - 1)))), frames]
    found = [range(a, b) for a, b in pairwise(cuts)]
    return draw(st.permutations(found)) + draw(st.lists(st.sampled_from(found), max_size=2))


@law
@given(runs(9), st.integers(0, 99))
def test_order_and_grouping_do_not_matter(order: list[range], seed: int) -> None:
    scene = sequence(9, 3, seed)
    with TemporaryDirectory() as folder:
        write(Path(folder) / "a", scene, everything(scene))
        write(Path(folder) / "b", scene, order)
        assert (Path(folder) / "a").read_bytes() == (Path(folder) / "b").read_bytes()


def test_numbers_of_other_types_and_strides_are_written_as_float32(tmp_path: Path) -> None:
    scene = sequence(2, 3)
    odd = {name: t.double().movedim(0, -1).contiguous().movedim(-1, 0).requires_grad_() for name, t in fields_of(scene, [0, 1]).items()}
    with SequenceWriter(tmp_path / "s", scene.times, 3) as writer:
        writer.write(0, odd)
    assert_same(load_scene(tmp_path / "s"), scene)


def test_a_file_of_the_same_layout_is_resumed(tmp_path: Path) -> None:
    scene, path = sequence(world=tilted_world()), tmp_path / "s.safetensors"
    assert not write(path, scene, [range(2)], NOTES)
    assert write(path, scene, [range(3, 5)], NOTES)
    half = load_scene(path)
    assert isinstance(half, GaussianSequence)
    for name in SPLAT_SHAPES:
        assert torch.equal(getattr(half, name)[[0, 1, 3, 4]], getattr(scene, name)[[0, 1, 3, 4]]), name
        assert not getattr(half, name)[2].any(), name
    assert write(path, scene, [range(2, 3)], NOTES)
    assert_same(load_scene(path), scene)


@pytest.mark.parametrize("change", ["frames", "count", "times", "world", "notes", "no notes"])
def test_a_file_of_another_layout_is_replaced(tmp_path: Path, change: str) -> None:
    scene, path = sequence(), tmp_path / "s.safetensors"
    write(path, scene, everything(scene), NOTES)
    later = scene.times.clone()
    later[-1] += 1e-9
    other = {
        "frames": sequence(frames=4),
        "count": sequence(count=6),
        "times": replace(scene, times=later),
        "world": replace(scene, world=Similarity(1 + 1e-12)),
    }.get(change, scene)
    notes = {"notes": NOTES | {"model": "L4GM"}, "no notes": None}.get(change, NOTES)
    assert not write(path, other, [], notes)
    empty = load_scene(path)
    assert isinstance(empty, GaussianSequence)
    assert not any(getattr(empty, name).any() for name in SPLAT_SHAPES)
    assert empty.means.shape == other.means.shape
    assert torch.equal(empty.times, other.times)


@pytest.mark.parametrize("damage", ["length", "header", "times", "cut", "longer", "empty"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    scene, path = sequence(), tmp_path / "s.safetensors"
    write(path, scene, everything(scene))
    data = bytearray(path.read_bytes())
    times_at = 8 + int.from_bytes(data[:8], "little")
    if damage in ("length", "header", "times"):
        data[{"length": 0, "header": 20, "times": times_at + 3}[damage]] ^= 1
    path.write_bytes({"cut": data[:-1], "longer": data + b"\0", "empty": b""}.get(damage, data))
    assert not write(path, scene, [range(1)])
    found = load_scene(path)
    assert isinstance(found, GaussianSequence)
    assert torch.equal(found.means[0], scene.means[0])
    assert not found.means[1:].any()


def test_frames_that_were_never_written_are_zeros(tmp_path: Path) -> None:
    scene = sequence()
    write(tmp_path / "s", scene, [range(2, 3)])
    found = load_scene(tmp_path / "s")
    assert isinstance(found, GaussianSequence)
    assert torch.equal(found.times, scene.times)
    for name in SPLAT_SHAPES:
        assert not getattr(found, name)[[0, 1, 3, 4]].any(), name
        assert torch.equal(getattr(found, name)[2], getattr(scene, name)[2]), name


@pytest.mark.parametrize(("first", "length", "said"), [(4, 2, "4 to 5"), (5, 1, "5 to 5"), (-1, 1, "-1 to -1"), (-2, 4, "-2 to 1")])
def test_frames_outside_are_refused(tmp_path: Path, first: int, length: int, said: str) -> None:
    scene = sequence()
    write(tmp_path / "s", scene, everything(scene))
    before = (tmp_path / "s").read_bytes()
    with (
        SequenceWriter(tmp_path / "s", scene.times, 7) as writer,
        pytest.raises(InputError, match=f"^frames {said} do not fit into a sequence of 5$"),
    ):
        writer.write(first, fields_of(sequence(length, seed=9), slice(None)))
    assert (tmp_path / "s").read_bytes() == before


@pytest.mark.parametrize("name", SPLAT_SHAPES)
def test_other_shapes_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    scene = sequence(2)
    whole = fields_of(scene, slice(None))
    shapes = [whole[name][:, :6], whole[name][0], whole[name][..., None]]
    if name != "means":  # the first field tells the number of frames
        shapes.append(whole[name][:1])
    with SequenceWriter(tmp_path / "s", scene.times, 7) as writer:
        for wrong in shapes:
            with pytest.raises(InputError, match=r"expected shape \[K"):
                writer.write(0, whole | {name: wrong})
    assert not any(getattr(load_scene(tmp_path / "s"), other).any() for other in SPLAT_SHAPES)


@pytest.mark.parametrize("short", [1, 4000])
def test_a_full_disk_raises_with_the_space_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: int) -> None:
    times, path = torch.arange(1000, dtype=torch.float64), tmp_path / "s.safetensors"
    with SequenceWriter(path, times, 65536):
        size = path.stat().st_size
    assert 14 * 4 * 1000 * 65536 < size < 14 * 4 * 1000 * 65536 + 10_000
    path.unlink()
    asked: list[Path] = []
    monkeypatch.setattr(shutil, "disk_usage", lambda where: asked.append(Path(where)) or SimpleNamespace(free=size - short))
    with pytest.raises(InputError, match=r"s\.safetensors: the sequence takes 3\.7 GB, 3\.7 GB are free there; take fewer frames \(fps"):
        SequenceWriter(path, times, 65536)
    assert asked == [tmp_path]
    assert not path.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda where: SimpleNamespace(free=size))
    with SequenceWriter(path, times, 65536) as writer:
        assert not writer.continued
    monkeypatch.setattr(shutil, "disk_usage", lambda where: SimpleNamespace(free=0))
    with SequenceWriter(path, times, 65536) as writer:  # its place is taken already
        assert writer.continued


@pytest.mark.parametrize("length", range(8))
def test_the_header_is_aligned_and_the_format_is_safetensors(tmp_path: Path, length: int) -> None:
    scene = sequence(3, 5)
    write(tmp_path / "s", scene, everything(scene), {"note": "x" * length})
    data = (tmp_path / "s").read_bytes()
    header = int.from_bytes(data[:8], "little")
    assert header % 8 == 0
    entries = json.loads(data[8 : 8 + header])
    assert entries.pop("__metadata__")["note"] == "x" * length
    assert list(entries) == ["times", *SPLAT_SHAPES]
    ends = [0, *(entry["data_offsets"][1] for entry in entries.values())]
    assert [entry["data_offsets"][0] for entry in entries.values()] == ends[:-1]
    assert 8 + header + ends[-1] == len(data)
    with safe_open(tmp_path / "s", framework="pt") as file:
        assert set(file.keys()) == set(scene.tensors())
        for name, tensor in scene.tensors().items():
            assert torch.equal(file.get_tensor(name), tensor), name


def test_a_stored_sequence_gives_its_frames(tmp_path: Path) -> None:
    scene = sequence(world=tilted_world())
    write(tmp_path / "s", scene, everything(scene))
    stored = StoredSequence(str(tmp_path / "s"))
    assert (stored.num_frames, stored.num_gaussians, stored.seconds) == (5, 7, scene.seconds)
    assert torch.equal(stored.times, scene.times)
    for index in [*range(5), 2, 0]:
        found, expected = stored.frame(index), scene.frame(index)
        assert all(torch.equal(found.tensors()[name], tensor) for name, tensor in expected.tensors().items())
        torch.testing.assert_close(found.world.matrix(), scene.world.matrix(), rtol=0, atol=1e-15)
    with pytest.raises(IndexError):
        stored.frame(5)


def test_a_stored_sequence_reads_frames_written_later(tmp_path: Path) -> None:
    scene = sequence()
    write(tmp_path / "s", scene, [range(1)])
    stored = StoredSequence(tmp_path / "s")
    kept = stored.frame(1)
    write(tmp_path / "s", scene, [range(1, 5)])
    assert not kept.means.any()
    assert torch.equal(stored.frame(1).means, scene.means[1])


def test_other_kinds_of_scene_are_no_stored_sequence(tmp_path: Path) -> None:
    save_scene(moving_scene(), tmp_path / "s")
    with pytest.raises(InputError, match=r"s: expected a GaussianSequence, got a Gaussians4D$"):
        StoredSequence(tmp_path / "s")


def anonymous_bytes() -> int | None:
    """Anonymous memory of this process; None where the system does not report it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")]
    return found[0] if found else None


def test_a_long_sequence_never_loads_completely(tmp_path: Path) -> None:
    path, times, frame = tmp_path / "long.safetensors", torch.arange(200, dtype=torch.float64), sequence(1, 2000)
    fields = fields_of(frame, slice(None))
    before = anonymous_bytes()
    tracemalloc.start()
    try:
        with SequenceWriter(path, times, 2000) as writer:
            for index in range(200):
                writer.write(index, fields)
        scene = load_scene(path)
        assert isinstance(scene, GaussianSequence)
        found = [scene.frame(123).means, StoredSequence(path).frame(77).means]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    whole = path.stat().st_size
    assert whole > 22e6
    assert peak < whole / 20
    assert all(torch.equal(means, frame.means[0]) for means in found)
    after = anonymous_bytes()
    assert before is None or after is None or after - before < whole / 4
