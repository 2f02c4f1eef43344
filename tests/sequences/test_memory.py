"""Frames of a forward pass: 16, or the requested number, or fewer where memory is short."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import torch

from chronosplat.models.l4gm import L4GM, L4GMConfig, forward_bytes, weight_bytes
from chronosplat.models.l4gm import memory as network_memory
from chronosplat.sequences import choose_chunk, memory
from chronosplat.shapes import InputError
from tests.l4gm_kit import TINY

MOST, USED, DETAILS = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current", "memory.stat"))
MEMINFO = Path("/proc/meminfo")


available_memory = memory.available_memory


@pytest.fixture(autouse=True)
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with more than enough memory."""
    monkeypatch.setattr(memory, "available_memory", lambda device: 1 << 50)


def room_for(monkeypatch: pytest.MonkeyPatch, frames: int, dtype: torch.dtype = torch.float32, models: int = 1) -> None:
    """A machine on which just ``frames`` frames fit."""
    need = forward_bytes(TINY, frames, dtype) + (models - 1) * weight_bytes(TINY, dtype)
    monkeypatch.setattr(memory, "available_memory", lambda device: int(need / memory.KEEP_FREE) + 16)


def chosen(requested: int | None, frames: int, dtype: torch.dtype = torch.float32, models: int = 1) -> int:
    return choose_chunk(requested, frames, TINY, dtype, "cpu", models)


@pytest.mark.parametrize(("frames", "chunk"), [(1000, 16), (17, 16), (16, 16), (15, 15), (2, 2), (1, 1)])
def test_sixteen_frames_or_as_many_as_there_are(frames: int, chunk: int) -> None:
    assert chosen(None, frames) == chunk


@pytest.mark.parametrize(("requested", "frames", "chunk"), [(2, 100, 2), (8, 100, 8), (40, 100, 40), (40, 30, 30), (5, 1, 1), (1, 1, 1)])
def test_the_requested_number(requested: int, frames: int, chunk: int) -> None:
    assert chosen(requested, frames) == chunk


@pytest.mark.parametrize("fits", [2, 3, 9, 15])
def test_short_memory_takes_fewer_frames(monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    room_for(monkeypatch, fits)
    assert chosen(None, 1000) == fits
    assert chosen(None, fits) == fits
    assert chosen(fits, 1000) == fits
    assert chosen(1000, fits) == fits


def test_a_tenth_is_kept_free(monkeypatch: pytest.MonkeyPatch) -> None:
    big = L4GMConfig()
    monkeypatch.setattr(memory, "available_memory", lambda device: forward_bytes(big, 10, torch.float32))
    largest = choose_chunk(None, 1000, big, torch.float32, "cpu")
    room = 0.9 * forward_bytes(big, 10, torch.float32)
    assert forward_bytes(big, largest, torch.float32) <= room < forward_bytes(big, largest + 1, torch.float32)


@pytest.mark.parametrize(("requested", "fits"), [(16, 5), (6, 5), (300, 20), (3, 2)])
def test_more_than_fits_is_refused_with_the_largest_that_does(monkeypatch: pytest.MonkeyPatch, requested: int, fits: int) -> None:
    room_for(monkeypatch, fits)
    words = rf"^chunk: {requested} frames take about [\d.]+ GiB, [\d.]+ GiB are free; chunk={fits} fits$"
    with pytest.raises(InputError, match=words) as caught:
        chosen(requested, 1000)
    said = re.search(r"chunk=(\d+)", str(caught.value))
    assert said is not None
    assert chosen(int(said[1]), 1000) == fits
    with pytest.raises(InputError, match=f"chunk={fits} fits"):
        chosen(fits + 1, 1000)


def test_the_message_counts_in_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    big = L4GMConfig()
    monkeypatch.setattr(memory, "available_memory", lambda device: 20 << 30)
    with pytest.raises(InputError) as caught:
        choose_chunk(64, 100, big, torch.float32, "cpu")
    need, free = (float(n) for n in re.findall(r"([\d.]+) GiB", str(caught.value)))
    assert need == pytest.approx(forward_bytes(big, 64, torch.float32) / 2**30, abs=0.05)
    assert free == pytest.approx(18.0, abs=0.05)


@pytest.mark.parametrize("requested", [None, 2, 16])
@pytest.mark.parametrize("fits", [0, 1])
def test_not_even_two_frames_fit(monkeypatch: pytest.MonkeyPatch, requested: int | None, fits: int) -> None:
    room_for(monkeypatch, fits)
    with pytest.raises(InputError, match=r"^chunk: 2 frames take about .* that is the least"):
        chosen(requested, 1000)


def test_no_memory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 0)
    for frames in (1, 2, 1000):
        with pytest.raises(InputError, match=r" 0\.0 GiB are free; that is the least"):
            chosen(None, frames, models=2)


def test_reduced_precision_is_proposed_only_where_there_is_more_to_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 0)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        with pytest.raises(InputError) as caught:
            chosen(None, 8, dtype)
        assert ("precision=bf16" in str(caught.value)) == (dtype == torch.float32)


def test_half_the_bytes_allow_more_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, 6)
    assert chosen(None, 1000, torch.bfloat16) >= 12
    assert chosen(None, 1000, torch.float16) == chosen(None, 1000, torch.bfloat16)


@pytest.mark.parametrize("requested", [1, 0, -3])
@pytest.mark.parametrize("frames", [2, 1000])
def test_chunks_too_short_to_overlap_are_refused(requested: int, frames: int) -> None:
    with pytest.raises(InputError, match=rf"^chunk: expected at least 2 frames, .*; got {requested}$"):
        chosen(requested, frames)


@pytest.mark.parametrize("requested", [0, -3])
def test_nonsense_is_refused_for_a_single_frame_too(requested: int) -> None:
    with pytest.raises(InputError, match=rf"^chunk: expected at least .*; got {requested}$"):
        chosen(requested, 1)


def test_a_single_frame_needs_room_for_one_only(monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, 1)
    assert chosen(None, 1) == 1
    assert chosen(16, 1) == 1
    with pytest.raises(InputError, match="2 frames take about"):
        chosen(None, 2)


def test_two_models_need_more(monkeypatch: pytest.MonkeyPatch) -> None:
    heavy = L4GMConfig()
    weights = weight_bytes(heavy, torch.float32)
    need = int((forward_bytes(heavy, 10, torch.float32) + weights / 2) / memory.KEEP_FREE)
    monkeypatch.setattr(memory, "available_memory", lambda device: need)
    assert choose_chunk(10, 100, heavy, torch.float32, "cpu") == 10
    with pytest.raises(InputError, match=r"^chunk: 10 frames take about"):
        choose_chunk(10, 100, heavy, torch.float32, "cpu", models=2)
    monkeypatch.setattr(memory, "available_memory", lambda device: need + int(weights / memory.KEEP_FREE))
    assert choose_chunk(10, 100, heavy, torch.float32, "cpu", models=2) == 10


def test_the_device_is_the_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: {"cuda:1": 1 << 50}.get(device, 0))
    assert choose_chunk(None, 100, TINY, torch.float32, "cuda:1") == 16


def test_choosing_does_not_build_a_network_for_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The released network takes a tenth of a second to lay out, even without its numbers."""
    made: list[L4GMConfig] = []

    def layout(config: L4GMConfig) -> L4GM:
        made.append(config)
        return L4GM(config)

    weight_bytes.cache_clear()
    monkeypatch.setattr(network_memory, "L4GM", layout)
    assert chosen(20, 1000) == 20
    assert len(made) == 1


def free_on(monkeypatch: pytest.MonkeyPatch, files: dict[Path, str]) -> int:
    """The available memory where the system's files hold this; those that are not named are absent."""

    def read_text(path: Path, *args: object, **options: object) -> str:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", read_text)
        patch.setattr(Path, "is_file", lambda path: path in files)
        return available_memory("cpu")


def meminfo(free: int) -> str:
    return f"MemTotal:       64000000 kB\nMemFree:         1000000 kB\nMemAvailable:   {free} kB\nBuffers: 5 kB\nHugePages_Total:       0\n"


def physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if sys.platform != "win32" else memory.NO_LIMIT


def test_this_machine_has_some() -> None:
    assert 0 < available_memory("cpu") <= physical()


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({MEMINFO: meminfo(5000)}, 5_120_000),
        ({MEMINFO: meminfo(5000), MOST: "max\n", USED: "123\n"}, 5_120_000),
        ({MEMINFO: meminfo(5000), MOST: "4000000\n", USED: "1000000\n"}, 3_000_000),
        ({MEMINFO: meminfo(5000), MOST: "400000000\n", USED: "1000000\n"}, 5_120_000),
        ({MEMINFO: meminfo(5000), MOST: "4000000\n", USED: "4000001\n"}, 0),
        ({MEMINFO: meminfo(5000), MOST: "4000000\n"}, 5_120_000),
        ({MOST: "4000000\n", USED: "1000000\n"}, 3_000_000),
    ],
    ids=["no groups", "no limit", "limit", "wide limit", "over the limit", "half a group", "group alone"],
)
def test_the_system_and_its_groups_limit(monkeypatch: pytest.MonkeyPatch, files: dict[Path, str], free: int) -> None:
    assert free_on(monkeypatch, files) == free


@pytest.mark.parametrize("files", [{}, {MEMINFO: "MemTotal: 64000000 kB\n"}], ids=["no file", "an old kernel"])
def test_systems_that_do_not_say_what_is_free(monkeypatch: pytest.MonkeyPatch, files: dict[Path, str]) -> None:
    assert free_on(monkeypatch, files) == physical()


def test_file_pages_that_can_be_dropped_count_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's use counts the pages of files that were read, weights and scenes among them; they make room when it is needed."""
    details = "anon 1000000\nfile 2500000\ninactive_file 2000000\nactive_file 500000\n"
    files = {MEMINFO: meminfo(9000), MOST: "4000000\n", USED: "3500000\n", DETAILS: details}
    assert free_on(monkeypatch, files) >= 2_500_000


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: cannot allocate"), torch.OutOfMemoryError("tried to allocate")],
)
@pytest.mark.parametrize(("chunk", "words"), [(16, "16 frames at once; try chunk=8"), (2, "2 frames at once; try precision=bf16")])
def test_memory_that_runs_out_after_all_names_a_smaller_chunk(error: Exception, chunk: int, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught, memory.out_of_memory(chunk):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"), memory.out_of_memory(8):
        raise RuntimeError("shapes do not fit")
