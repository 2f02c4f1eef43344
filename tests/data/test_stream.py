"""The stream of batches: every clip once an epoch, one sequence whatever the workers, and the same after a kill."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.data.clip import Clip
from chronosplat.data.clipset import ClipSet, clip_at
from chronosplat.data.draws import AnyClip, DrawLRM4D, Images, Sample
from chronosplat.data.shards import shard_name, write_shard
from chronosplat.data.stream import SampleStream, StreamOptions
from chronosplat.shapes import InputError
from tests.data.shard_kit import data_set, small_clip

DRAW = DrawLRM4D(pool=8, inputs=3, targets=2)


def name_draw(clip: AnyClip, rng: np.random.Generator) -> Sample:
    """Draw the clip's number and a random one in place of images."""
    number = torch.tensor([[clip.facts["number"], int(rng.integers(2**31))]])
    images = Images(number, number, number, number)
    return Sample(images, images)


def numbers(batches: list[Sample]) -> list[int]:
    return [int(n) for batch in batches for n in batch.inputs.rgba[:, 0, 0]]


def digest(batch: Sample) -> str:
    parts = [getattr(getattr(batch, side), f) for side in ("inputs", "targets") for f in ("rgba", "viewmats", "Ks", "times")]
    return hashlib.sha256(b"".join(p.numpy().tobytes() for p in parts)).hexdigest()[:16]


def take(stream: SampleStream, count: int) -> list[Sample]:
    return list(itertools.islice(stream, count))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipSet:
    return ClipSet(data_set(tmp_path_factory.mktemp("set"), clips=10, per_shard=3))


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_every_clip_comes_once_an_epoch_on_one_rank(clips: ClipSet, ranks: int) -> None:
    batch = {1: 5, 2: 5, 5: 1}[ranks]
    steps = 10 // (batch * ranks)
    runs = [take(SampleStream(clips, name_draw, StreamOptions(batch=batch, rank=r, ranks=ranks, seed=4)), 3 * steps) for r in range(ranks)]
    for epoch in range(3):
        part = slice(epoch * steps, (epoch + 1) * steps)
        assert sorted(n for run in runs for n in numbers(run[part])) == list(range(10))
    orders = [[n for step in range(steps) for run in runs for n in numbers([run[e * steps + step]])] for e in range(3)]
    assert len({tuple(o) for o in orders}) == 3
    one = numbers(take(SampleStream(clips, name_draw, StreamOptions(batch=batch * ranks, seed=4)), steps))
    assert one == orders[0]  # more ranks share the order of one


def test_a_permutation_is_one_of_all() -> None:
    for epoch in range(3):
        assert sorted(clip_at(epoch * 7 + i, 7, 1) for i in range(7)) == list(range(7))


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_sequence(clips: ClipSet, draws: int, workers: int) -> None:
    plain = take(SampleStream(clips, DRAW, StreamOptions(batch=2, draws=draws)), 8)
    parallel = take(SampleStream(clips, DRAW, StreamOptions(batch=2, draws=draws, workers=workers)), 8)
    assert [digest(b) for b in plain] == [digest(b) for b in parallel]
    assert len({digest(b) for b in plain}) == 8


def test_several_draws_read_a_clip_once(clips: ClipSet) -> None:
    batches = take(SampleStream(clips, name_draw, StreamOptions(batch=2, draws=3)), 6)
    for turn in (batches[:3], batches[3:]):
        assert len({tuple(numbers([b])) for b in turn}) == 1  # the same clips
        assert len({int(b.inputs.rgba[0, 0, 1]) for b in turn}) == 3  # other draws
    assert numbers(batches[:1]) != numbers(batches[3:4])


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("stop", [0, 1, 4, 5])
def test_a_resumed_stream_continues(clips: ClipSet, draws: int, stop: int) -> None:
    options = StreamOptions(batch=2, draws=draws, seed=9)
    whole = [digest(b) for b in take(SampleStream(clips, DRAW, options), 9)]
    begun = SampleStream(clips, DRAW, options)
    first = [digest(b) for b in take(begun, stop)]
    state = json.loads(json.dumps(begun.state_dict()))
    assert state["step"] == stop
    resumed = SampleStream(clips, DRAW, options)
    resumed.load_state_dict(state)
    assert first + [digest(b) for b in take(resumed, 9 - stop)] == whole


@pytest.mark.parametrize("change", [{"batch": 3}, {"seed": 1}, {"ranks": 2}, {"draws": 2}])
def test_the_state_of_another_sequence_is_refused(clips: ClipSet, change: dict[str, int]) -> None:
    state = SampleStream(clips, DRAW, StreamOptions(batch=2)).state_dict()
    (name,) = change
    with pytest.raises(InputError, match=f"another sequence \\({name} "):
        SampleStream(clips, DRAW, StreamOptions(**{"batch": 2, **change})).load_state_dict(state)


def test_the_state_of_other_clips_is_refused(clips: ClipSet) -> None:
    state = SampleStream(clips, DRAW).state_dict()
    fewer = ClipSet(clips.address, exclude=["clip003"])
    with pytest.raises(InputError, match="another sequence \\(clips "):
        SampleStream(fewer, DRAW).load_state_dict(state)


def test_the_same_clips_in_other_shards_are_the_same_sequence(clips: ClipSet, tmp_path: Path) -> None:
    other = ClipSet(data_set(tmp_path, clips=10, per_shard=4))
    assert other.digest() == clips.digest()
    assert [digest(b) for b in take(SampleStream(other, DRAW), 3)] == [digest(b) for b in take(SampleStream(clips, DRAW), 3)]


def test_several_data_sets_are_read_as_one(clips: ClipSet, tmp_path: Path) -> None:
    for name, part in (("a", range(0, 10, 2)), ("b", range(1, 10, 2))):
        write_shard(f"{tmp_path}/{name}/{shard_name(0)}", (small_clip(f"clip{i:03d}", i) for i in part))
    both = ClipSet([f"{tmp_path}/b", f"{tmp_path}/a"])
    assert both.digest() == clips.digest()
    assert [digest(b) for b in take(SampleStream(both, DRAW), 3)] == [digest(b) for b in take(SampleStream(clips, DRAW), 3)]
    with pytest.raises(InputError, match="two clips with the key clip000"):
        ClipSet([f"{tmp_path}/a", f"{tmp_path}/a"])


def test_clips_are_excluded_by_key_and_uid(clips: ClipSet) -> None:
    left = ClipSet(clips.address, exclude=["clip003", "uid-clip007"])
    assert [p.entry.key for p in left.places] == [f"clip{i:03d}" for i in (0, 1, 2, 4, 5, 6, 8, 9)]
    with pytest.raises(InputError, match="none of its 10 clips is left"):
        ClipSet(clips.address, exclude=[f"clip{i:03d}" for i in range(10)])


def test_clips_are_the_same_wherever_they_lie(clips: ClipSet) -> None:
    away = ClipSet(data_set("memory://away", clips=10, per_shard=3))
    for i in (0, 7):
        one, other = clips.clip(i).clip(), away.clip(i).clip()
        assert isinstance(one, Clip)
        assert np.array_equal(one.frames, other.frames)
        assert one.facts == other.facts


def test_a_set_travels_to_workers(clips: ClipSet) -> None:
    clips.clip(0)
    assert pickle.loads(pickle.dumps(clips)).clip(0).key == "clip000"


def test_a_shard_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    before = ClipSet(data_set(tmp_path, clips=1))
    old = before.clip(0).clip()
    data_set(tmp_path, clips=1, times=2)
    assert ClipSet(str(tmp_path)).clip(0).times == 2
    assert np.array_equal(before.clip(0).clip().frames, old.frames)


RUN = """
import json, sys
from chronosplat.data.clipset import ClipSet
from chronosplat.data.stream import SampleStream, StreamOptions
from tests.data.test_stream import DRAW, digest
if __name__ == "__main__":
    stream = SampleStream(ClipSet(sys.argv[1]), DRAW, StreamOptions(batch=2, draws=2, workers=2, seed=3))
    if len(sys.argv) > 2:
        stream.load_state_dict(json.loads(sys.argv[2]))
    for batch in stream:
        print(json.dumps([digest(batch), stream.state_dict()]), flush=True)
"""


def test_a_killed_run_gives_the_same_sequence(clips: ClipSet) -> None:
    lines: list[str] = []
    state: list[str] = []
    for stop in (3, 4, 2):
        command = [sys.executable, "-c", RUN, clips.address, *state]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], start_new_session=True) as run:
            assert run.stdout is not None
            for line in itertools.islice(run.stdout, stop):
                found, at = json.loads(line)
                lines.append(found)
                state = [json.dumps(at)]
            os.killpg(run.pid, signal.SIGKILL)  # with its workers
    whole = take(SampleStream(clips, DRAW, StreamOptions(batch=2, draws=2, seed=3)), 9)
    assert lines == [digest(b) for b in whole]


def test_a_damaged_clip_is_named_by_the_stream(tmp_path: Path) -> None:
    address = data_set(tmp_path, clips=2)
    file = tmp_path / "shard-000000.tar"
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(InputError, match=r"is damaged .*data verify"):
        take(SampleStream(ClipSet(address), DRAW, StreamOptions(batch=2)), 1)


@pytest.mark.parametrize("bad", [{"batch": 0}, {"draws": 0}, {"workers": -1}, {"rank": 1}, {"rank": -1}])
def test_bad_options_are_named(bad: dict[str, int]) -> None:
    with pytest.raises(InputError, match="stream: expected"):
        StreamOptions(**bad)
