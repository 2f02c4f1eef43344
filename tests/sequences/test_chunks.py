"""Chunks cover a video with one frame of overlap; a chunk is one call of the network; views are what it would see."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chronosplat.cameras import orbit
from chronosplat.models.l4gm import input_maps
from chronosplat.render import render
from chronosplat.sequences import Span, plan_chunks, reconstruct_chunk, render_views
from chronosplat.sequences.chunks import frame_of
from chronosplat.shapes import InputError
from tests.l4gm_kit import TINY, tiny_model
from tests.sequences.kit import Movie, side_views


@given(st.integers(1, 200), st.integers(2, 20))
def test_chunks_cover_all_frames_once_and_overlap_by_one(frames: int, size: int) -> None:
    spans = plan_chunks(frames, size)
    assert spans[0].first == 0
    assert spans[-1].last == frames - 1
    for before, after in pairwise(spans):
        assert after.first == before.last
        assert len(before) == size
    assert all(min(2, frames) <= len(s) <= size for s in spans)
    new = [set(range(s.first + (i > 0), s.last + 1)) for i, s in enumerate(spans)]
    assert sum(len(n) for n in new) == frames
    assert set().union(*new) == set(range(frames))


def test_the_paper_s_example() -> None:
    assert plan_chunks(40, 8)[:2] == [Span(0, 7), Span(7, 14)]
    assert plan_chunks(40, 8)[-1] == Span(35, 39)
    assert plan_chunks(1, 1) == [Span(0, 0)]


@pytest.mark.parametrize(("frames", "size", "words"), [(0, 8, "at least one, got 0"), (5, 1, "at least 2 frames"), (5, 0, "got 0")])
def test_impossible_plans_are_refused(frames: int, size: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_chunks(frames, size)


def test_a_chunk_is_one_call_with_the_sides_copied() -> None:
    model, movie, views = tiny_model(), Movie(3), side_views(32)
    pictures = torch.stack([movie.white(32, i) for i in range(3)])
    found = reconstruct_chunk(model, pictures, views)
    rgb = torch.stack([torch.stack([pictures[t], views[1], views[2], views[3]]) for t in range(3)])
    with torch.no_grad():
        wanted = model(input_maps(rgb[None], TINY))
    for name, value in wanted.fields().items():
        assert torch.equal(found.fields()[name], value), name
    other = reconstruct_chunk(model, pictures, torch.cat([torch.zeros_like(views[:1]), views[1:]]))
    assert torch.equal(other.means, found.means)  # the reference view's place is the video's


def test_chunk_shapes_are_checked() -> None:
    model, pictures = tiny_model(), torch.ones(2, 32, 32, 3)
    with pytest.raises(InputError, match="images: expected shape"):
        reconstruct_chunk(model, torch.ones(2, 16, 16, 3), side_views(32))
    with pytest.raises(InputError, match=r"views: expected shape .* give one image for each of the model's 4 azimuths"):
        reconstruct_chunk(model, pictures, side_views(32)[:3])


def test_views_are_renders_at_four_azimuths() -> None:
    model = tiny_model()
    predicted = reconstruct_chunk(model, torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0)), side_views(32))
    gaussians = frame_of(predicted, 1)
    assert torch.equal(gaussians.means, predicted.means[0, 1])
    wanted = render(gaussians, orbit([0.0, 90.0, 180.0, 270.0], 0.0, 32), backend="reference").rgb.clamp(0, 1)
    torch.testing.assert_close(render_views(gaussians, TINY), wanted, atol=1e-5, rtol=0)
    assert float((wanted < 0.9).float().mean()) > 0.05  # there is something to see
