"""No arguments crash the native library, as long as arrays are as long as the sizes declare."""

from __future__ import annotations

import re
import resource
import sys
from ctypes import byref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chronosplat.render import RasterInputs, native, rasterize
from chronosplat.shapes import InputError
from tests.render.native_kit import (
    BAD_ARGUMENT,
    BAD_STATE,
    GAUSSIANS,
    MOTION,
    NEVER_FINITE,
    NO_MEMORY,
    NOT_FINITE,
    OK,
    OPTIONS,
    TOO_MANY,
    Case,
    Fenced,
    announce,
    backward,
    bits,
    forward,
    pointers,
    run_apart,
    state_of,
    used_memory,
)
from tests.render.raster_cases import random_inputs

many = settings(derandomize=True, deadline=None, max_examples=100, database=None, suppress_health_check=list(HealthCheck))
MOST = 2**31 - 1
SIZES = ("scenes", "views", "gaussians", "width", "height")
NULLS = ("means", "quats", "scales", "covars", "opacities", "colors", "viewmats", "Ks", "rgb", "alpha", "depth", *MOTION)

faults = st.one_of(
    st.tuples(st.sampled_from(SIZES), st.sampled_from([0, -1, -(2**31), MOST])),
    st.tuples(st.sampled_from(("width", "height")), st.sampled_from([2**20 + 1, 2**30])),
    st.tuples(st.sampled_from(OPTIONS), st.one_of(st.sampled_from([*NEVER_FINITE, -1.0, 0.0, 1e-45, 3e38]), st.floats(width=32))),
    st.tuples(st.sampled_from(("threads", "antialiased")), st.sampled_from([-(2**31), -1, 0, 2, 7, MOST])),
    st.tuples(st.just("null"), st.sampled_from(NULLS)),
    st.tuples(st.just("value"), st.tuples(st.sampled_from((*GAUSSIANS, "viewmats", "Ks", "times")), st.sampled_from(NEVER_FINITE))),
    st.tuples(st.just("focal"), st.sampled_from([0.0, -1.0, -3e38])),
)


def spoil(case: Case, image: dict[str, Fenced], fault: tuple[str, Any], place: int) -> None:
    """Apply one fault."""
    name, value = fault
    if name == "null":
        case.arrays.pop(value, None)
        image.pop(value, None)
    elif name == "value" and value[0] in case.arrays:
        array = case.arrays[value[0]].view()
        array[place % len(array)] = value[1]
    elif name == "focal" and "Ks" in case.arrays:
        case.arrays["Ks"].view()[9 * (place % (case.sizes["scenes"] * case.sizes["views"])) + 4 * (place % 2)] = value
    elif name in case.numbers:
        case.numbers[name] = value


def expected(case: Case, image: dict[str, Fenced]) -> set[int]:
    """The statuses that native/splat.h allows for a case, by its words; which of several faults is named is free."""
    found, n, have = set(), case.numbers, case.arrays
    moving = [name in have for name in MOTION]
    if len(image) < 3 or any(name not in have for name in ("means", "opacities", "colors", "viewmats", "Ks")):
        found.add(BAD_ARGUMENT)
    if "covars" not in have and not ("quats" in have and "scales" in have):
        found.add(BAD_ARGUMENT)
    if any(moving) and not all(moving):
        found.add(BAD_ARGUMENT)
    if any(n[name] < 1 for name in SIZES) or max(n["width"], n["height"]) > 2**20:
        found.add(BAD_ARGUMENT)
    options = np.array([n[name] for name in OPTIONS], np.float32)
    if not np.isfinite(options).all() or (options < 0).any() or options[1] <= 0:
        found.add(BAD_ARGUMENT)
    if max(n["scenes"], n["views"], n["gaussians"]) == MOST:
        found.add(TOO_MANY)
    if "Ks" in have and bool((have["Ks"].view().reshape(-1, 9)[:, [0, 4]] <= 0).any()):
        found.add(BAD_ARGUMENT)
    if not all(np.isfinite(array.view()).all() for array in have.values()):
        found.add(NOT_FINITE)
    return found or {OK}


@many
@given(
    seed=st.integers(0, 1000),
    covars=st.booleans(),
    moving=st.booleans(),
    behind=st.booleans(),
    some=st.lists(faults, max_size=3),
    place=st.integers(0, 10_000),
    keep=st.booleans(),
)
def garbage_in_every_field(
    seed: int, covars: bool, moving: bool, behind: bool, some: list[tuple[str, Any]], place: int, keep: bool
) -> None:
    case = Case.make(seed, covars, moving, behind)
    image, upstream, found = case.image(), case.image(1), case.gradients()
    status, block = forward(case, image)
    assert status == OK
    state = state_of(block)
    for fault in some:
        spoil(case, image, fault, place)
    announce((seed, covars, moving, behind, some, place, keep))
    allowed = expected(case, image)
    assert forward(case, image, keep)[0] in allowed
    status = backward(case, state, image, upstream, found)
    if allowed & {BAD_ARGUMENT, TOO_MANY} and NOT_FINITE not in allowed:
        assert status in (allowed | {BAD_STATE}) - {OK}
    else:  # the Gaussians' values are not read again; those of the cameras are
        assert status in allowed | {OK, BAD_STATE}


@many
@given(
    seed=st.integers(0, 2**32),
    covars=st.booleans(),
    moving=st.booleans(),
    wild=st.sets(st.sampled_from((*GAUSSIANS, "viewmats", "Ks", "times", *OPTIONS)), max_size=16),
    finite=st.booleans(),
    antialiased=st.booleans(),
)
def any_numbers(seed: int, covars: bool, moving: bool, wild: set[str], finite: bool, antialiased: bool) -> None:
    g = np.random.default_rng(seed)
    case = Case.make(seed, covars, moving, bool(seed % 2), gaussians=40)
    case.numbers["antialiased"] = antialiased
    for name in sorted(wild):
        if name in case.arrays:
            bits(g, case.arrays[name].view(), finite)
        elif name in OPTIONS:
            number = np.zeros(1, np.float32)
            bits(g, number, finite)
            case.numbers[name] = float(abs(number[0]))
    if "Ks" in wild and finite:
        focal = case.arrays["Ks"].view().reshape(-1, 9)[:, [0, 4]]
        case.arrays["Ks"].view().reshape(-1, 9)[:, [0, 4]] = np.abs(focal) + np.float32(1e-45)
    announce((seed, covars, moving, sorted(wild), finite, antialiased))
    image, upstream = case.image(), case.image()
    status, block = forward(case, image)
    assert status in expected(case, image)
    if status:
        return
    alpha = image["alpha"].view()
    assert alpha.min() >= -1e-6
    assert alpha.max() <= 1 + 1e-6  # NaN fails both
    for array in upstream.values():
        bits(g, array.view(), bool(seed % 3))
    assert backward(case, state_of(block), image, upstream, case.gradients()) == OK


def any_call() -> None:
    garbage_in_every_field()
    any_numbers()


def test_any_call_gives_a_documented_status() -> None:
    run_apart("any_call", "test_native_api")


def corrupted(g: np.random.Generator, block: NDArray, how: str, rows: int, other: NDArray) -> NDArray:
    """A damaged copy of a state: a header of 64 bytes, ``rows`` records of 64 bytes, and where tiles and chunks start."""
    block, words = block.copy(), block.size // 4
    numbers = block[: 4 * words].view(np.uint32)
    interesting = [0, 1, 2, 31, 69, 70, 1024, 2**20, 2**31 - 1, 2**31, 2**32 - 1, int(g.integers(2**32)), rows, rows + 1]
    if how == "bytes":
        block[g.integers(0, block.size, g.integers(1, 9))] ^= g.integers(1, 256, dtype=np.uint8)
    elif how == "words":
        numbers[g.integers(0, words, g.integers(1, 9))] = g.choice(interesting)
    elif how == "header":
        numbers[g.integers(0, 16)] = g.choice(interesting)
    elif how == "starts":
        at = g.integers(16 + 16 * rows, words)
        numbers[at : at + 1] += g.choice([1, 2, 2**31, 2**32 - 1, 2**32 - 2]).astype(np.uint32)
    elif how == "records":
        block[64 : 64 + 64 * rows] = g.integers(0, 256, 64 * rows, dtype=np.uint8)
    elif how == "integers":  # of the records: position, row and the mask of blocks
        columns = numbers[16 : 16 + 16 * rows].reshape(rows, 16)
        columns[g.integers(0, rows), g.integers(10, 14)] = g.choice(interesting)
    elif how == "noise":
        block[8:] = g.integers(0, 256, block.size - 8, dtype=np.uint8)
    elif how == "other":
        return other
    elif how == "shorter":
        return block[: g.integers(0, block.size)]
    elif how == "longer":
        return np.concatenate([block, block[: g.integers(1, 200)]])
    return block


@many
@given(
    seed=st.integers(0, 2**32),
    count=st.sampled_from([1, 17, 70, 1500]),
    covars=st.booleans(),
    moving=st.booleans(),
    how=st.sampled_from(["same", "bytes", "words", "header", "starts", "records", "integers", "noise", "other", "shorter", "longer"]),
    threads=st.integers(1, 2),
)
def corrupted_states(seed: int, count: int, covars: bool, moving: bool, how: str, threads: int) -> None:
    announce((seed, count, covars, moving, how, threads))
    g = np.random.default_rng(seed)
    case, stranger = (Case.make(seed + i, covars, moving, bool(seed % 2), gaussians=count + i * int(seed % 3 == 0)) for i in (0, 1))
    case.numbers["threads"] = threads
    image, upstream, found, good = case.image(), case.image(1), case.gradients(), case.gradients()
    block, other = forward(case, image)[1], forward(stranger, stranger.image())[1]
    assert backward(case, state_of(block), image, upstream, good) == OK
    rows = int(block[8:16].view(np.uint64)[0])
    bad = corrupted(g, block, how if rows or how in ("other", "shorter", "longer") else "same", rows, other)
    state = state_of(bad, fence_behind=bool(seed % 5))
    status = backward(case, state, image, upstream, found)
    assert status in (OK, BAD_STATE)
    assert np.array_equal(state[0].view(np.uint8), bad)  # a state is only read
    if how in ("header", "shorter", "longer") and not np.array_equal(bad[:16], block[:16]):
        assert status == BAD_STATE
    if np.array_equal(block, bad):
        assert status == OK
        assert all(np.array_equal(found[name].view(), good[name].view()) for name in good)


def moved_state() -> None:
    """The block may be moved to any aligned address; sizes and pointers may be nonsense."""
    case = Case.make(3, moving=True)
    image, upstream, good, found = case.image(), case.image(1), case.gradients(), case.gradients()
    _, block = forward(case, image)
    assert backward(case, state_of(block), image, upstream, good) == OK
    for size in (0, -1, -64, 16, 63, 64, block.size - 1, block.size + 1, -(2**63), 2**62, 2**63 - 1):
        assert backward(case, (Fenced.holding(block, align=64), size), image, upstream, found) in (BAD_ARGUMENT, BAD_STATE), size
        assert backward(case, (None, size), image, upstream, found) == BAD_ARGUMENT
    for shift in (1, 4, 8, 16, 32, 64, 128):
        announce(("moved by", shift))
        fenced = Fenced(block.size + 128, fence_behind=False)
        fenced.view(np.uint8)[shift : shift + block.size] = block
        fenced.address += shift
        for array in found.values():
            array.view()[:] = 0
        assert backward(case, (fenced, block.size), image, upstream, found) == (BAD_ARGUMENT if shift % 64 else OK)
        assert shift % 64 or all(np.array_equal(found[name].view(), good[name].view()) for name in good)


def forged_state() -> None:
    """Right by its length and its header if the number of chunks overflows, but far shorter than its rows."""
    case, rows = Case.make(5, views=1, width=32, height=32), 133_152
    image, found = case.image(), case.gradients()
    block = Fenced(64 * rows - 8_388_528, align=64, depth=2**24)
    block.view(np.uint8)[:64] = forward(case, image)[1][:64]
    block.view(np.uint64)[1] = rows
    for gaussians in (MOST, MOST - 1022, MOST - 1023):
        case.numbers["gaussians"] = gaussians
        announce(("forged", gaussians))
        assert backward(case, (block, block.size), image, image, found) in (TOO_MANY, BAD_ARGUMENT, BAD_STATE)


def any_state() -> None:
    corrupted_states()
    moved_state()
    forged_state()


def test_any_state_is_used_or_refused() -> None:
    run_apart("any_state", "test_native_api", timeout=600)


def absurd_threads() -> None:
    """4096 tiles and the largest number of threads, with memory left for a few hundred threads."""
    torch.get_num_threads()  # so that torch's own pool of threads is there to be borrowed
    case = Case.make(1, width=32 * 4096, height=1, views=1)
    image = case.image()
    resource.setrlimit(resource.RLIMIT_AS, (used_memory() + 2**32, -1))
    for threads in (-(2**31), 0, 300, MOST):
        announce(("threads", threads))
        case.numbers["threads"] = threads
        assert forward(case, image, keep=False)[0] == OK


def little_memory() -> None:
    """Whatever allocation fails, the status says so, and with memory again the same call works."""
    case, small = Case.make(2, views=8, gaussians=30_000, width=200, height=200), Case.make(3, views=1, gaussians=10)
    images, found = [case.image(), case.image(1)], case.gradients()
    assert forward(small, small.image())[0] == OK
    used, statuses = used_memory(), []
    target, upstream = (native.SplatImage(**pointers(image)) for image in images)
    for more in (0, 1, 2, 4, 8, 16, 18, 20, 24, 28, 32, 40, 48, 64, 80, 96, 112, 400):
        announce(("MiB more", more))
        resource.setrlimit(resource.RLIMIT_AS, (used + more * 2**20, -1))
        state = native.SplatState()
        statuses.append(native.library().splat_forward(byref(case.scene()), byref(target), byref(state)))
        if statuses[-1] == OK:
            gradients = native.SplatGradients(**pointers(found))
            again = native.library().splat_backward(byref(case.scene()), byref(state), byref(target), byref(upstream), byref(gradients))
            assert again in (OK, NO_MEMORY)
        else:
            assert (state.block, state.bytes) == (None, 0)
        native.library().splat_free(state.block)
    assert set(statuses) == {OK, NO_MEMORY}
    assert statuses[-1] == again == OK


def scarce() -> None:
    little_memory()
    absurd_threads()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_scarce_memory_and_threads() -> None:
    run_apart("scarce", "test_native_api")


def refused(x: RasterInputs) -> str:
    """The message with which the backend refuses."""
    with pytest.raises(InputError) as caught:
        rasterize(x, "cpu")
    return str(caught.value)


def covering(gaussians: int, width: int, height: int, views: int) -> RasterInputs:
    """Gaussians that cover all of every image; tensors are repeated without memory."""
    x = random_inputs("huge", gaussians=1, width=width, height=height).map(lambda t: t.float())
    x = replace(x, scales=torch.full_like(x.scales, 100.0), opacities=torch.ones_like(x.opacities))
    per_view = {name: getattr(x, name).expand(1, views, -1, -1) for name in ("viewmats", "Ks")}
    return replace(x.with_gaussians([None if t is None else t.expand(1, gaussians, *t.shape[2:]) for t in x.gaussians()]), **per_view)


def test_too_many_intersections_are_refused_with_the_remedy() -> None:
    """2^31 of them: 2^17 Gaussians on 2^14 tiles. They are counted before any are stored."""
    remedy = r"render: more than 2\^31 \(Gaussian, tile\) intersections; render fewer views at once"
    assert re.match(remedy, refused(covering(2**17, 4096, 4096, 1)))
    assert re.match(remedy, refused(covering(2**16, 1, 1, 2**15)))  # projections


def test_sizes_out_of_range_are_refused() -> None:
    """The library returns a status; the Python backend raises before with the reason."""
    for name, value in (("width", 2**20 + 1), ("height", 2**20 + 1), ("width", 0), ("gaussians", 0), ("views", 0), ("scenes", 0)):
        case = Case.make()
        case.numbers[name] = value
        assert forward(case, case.image())[0] == BAD_ARGUMENT, name
    for tiles, status in ((2**30, TOO_MANY), (2**31, BAD_ARGUMENT)):  # of two views; nothing is rendered yet
        case = Case.make()
        case.numbers |= {"width": 2**20, "height": tiles // 2**10}
        assert forward(case, case.image())[0] == status
    assert "image size: expected at most 1048576" in refused(covering(1, 2**20 + 1, 1, 1))


@pytest.mark.parametrize("sizes", [{"gaussians": 0}, {"views": 0}, {"scenes": 0}])
def test_zero_sizes_are_refused(sizes: dict[str, int]) -> None:
    out = rasterize(random_inputs(**{"gaussians": 3, **sizes}), "cpu")
    assert out.rgb.shape == (sizes.get("scenes", 1), sizes.get("views", 1), 26, 33, 3)
    assert not out.rgb.any()


@pytest.mark.parametrize("name", ["means", "scales", "colors", "opacities", "viewmats", "Ks", "times", "velocities", "time_centers"])
def test_large_finite_numbers_are_not_taken_for_infinite(name: str) -> None:
    """Their sum overflows."""
    x = random_inputs(moving=True, views=2).map(lambda t: t.float())
    large = getattr(x, name).clone()
    large[..., -1] = 3e38
    assert bool(rasterize(replace(x, **{name: large}), "cpu").alpha.isfinite().all())
