"""The table of bad input for refinement: one clear line that says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import chronosplat
from chronosplat.cameras import Similarity, orbit
from chronosplat.refine import RefineConfig, fit, refine_scene, refinement
from chronosplat.refine.config import FreeConfig
from chronosplat.shapes import InputError
from tests.refine.kit import blobs, few, psnr_of, said, still, three_frames, views, views_of, wrong

NAN = float("nan")


def at_other_times() -> object:
    return chronosplat.refine(blobs(), replace(views(), times=views().times + 5), steps=3)


def before_its_time() -> object:
    return chronosplat.refine(blobs(), replace(views(), times=views().times - 0.5), steps=3)


def of_another_world(scene: chronosplat.Gaussians4D | chronosplat.Gaussians3D | chronosplat.GaussianSequence) -> object:
    moved = Similarity(1.0, torch.eye(3, dtype=torch.float64), torch.tensor([50.0, 0, 0], dtype=torch.float64))
    return chronosplat.refine(scene, replace(views(), cameras=views().cameras.transformed(moved)), steps=3)


def looking_away() -> object:
    backwards = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    away = replace(views().cameras, viewmats=backwards @ views().cameras.viewmats)
    return chronosplat.refine(blobs(), replace(views(), cameras=away), steps=3)


def sequence_at_other_times() -> object:
    return chronosplat.refine(three_frames(), replace(views(), times=views().times + 2), steps=3)


TABLE: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (lambda: RefineConfig(steps=0), "expected steps above 0, got 0"),
    "negative steps": (lambda: chronosplat.refine(blobs(), views(), steps=-3), "expected steps above 0, got -3"),
    "no seconds": (lambda: RefineConfig(seconds=0.0), "expected seconds above 0, got 0"),
    "negative seconds": (lambda: chronosplat.refine(blobs(), views(), seconds=-1), "expected seconds above 0, got -1"),
    "seconds that are none": (lambda: RefineConfig(seconds=NAN), "expected seconds above 0, got nan"),
    "for ever": (lambda: RefineConfig(seconds=float("inf")), "seconds above 0, got inf"),
    "both": (lambda: chronosplat.refine(blobs(), views(), steps=3, seconds=1), "steps or seconds, one of the two"),
    "neither": (lambda: RefineConfig(), "steps or seconds, one of the two"),
    "another word": (lambda: chronosplat.refine(blobs(), views(), "fats"), "expected off, fast, best or a number of seconds, got 'fats'"),
    "no word": (lambda: refinement(""), "expected off, fast, best or a number of seconds, got ''"),
    "zero as text": (lambda: refinement("0"), "expected seconds above 0, got 0"),
    "negative as text": (lambda: refinement("-1"), "expected seconds above 0, got -1"),
    "nan as text": (lambda: refinement("nan"), "expected seconds above 0, got nan"),
    "no batch": (lambda: few(batch=0), "expected a batch of at least 1 view, got 0"),
    "batch that is none": (lambda: few(batch=NAN), "expected a batch of at least 1 view, got nan"),
    "all of it a search": (lambda: few(search=1.0), "expected search in [0, 1), got 1"),
    "search that is none": (lambda: few(search=NAN), "expected search in [0, 1), got nan"),
    "all held out": (lambda: few(held_out=1.5), "expected held_out in [0, 1), got 1.5"),
    "all dropped": (lambda: few(dropout=1.0), "expected dropout in [0, 1), got 1"),
    "no needle at all": (lambda: few(max_anisotropy=0.5), "expected max_anisotropy above 1, got 0.5"),
    "steps that fall to nothing": (lambda: few(lr_floor=0.0), "expected lr_floor in (0, 1], got 0"),
    "nothing to choose from": (lambda: few(free=FreeConfig(widths=())), "expected widths above 0, at least one"),
    "a width of nothing": (lambda: few(free=FreeConfig(widths=(0.0, 2.0))), "expected widths above 0, at least one"),
    "unknown strategy": (lambda: refine_scene(blobs(), views(), few(strategy="fee")), "frames, solid, deform, free, gentle; got 'fee'"),
    "unknown renderer": (lambda: refine_scene(blobs(), views(), few(backend="cpi")), "backend: expected auto, reference, cpu, gsplat"),
    "later views": (at_other_times, "views: taken from 5 to 7 s, but the scene covers 0 to 2 s; they are not of one capture"),
    "earlier views": (before_its_time, "views: taken from -0.5 to 1.5 s, but the scene covers 0 to 2 s"),
    "a sequence's later views": (sequence_at_other_times, "views: taken from 2 to 4 s, but the scene covers 0 to 2 s"),
    "another world": (lambda: of_another_world(blobs()), "their cameras see nothing of the scene; are both in the same world?"),
    "another world, static": (lambda: of_another_world(still()), "their cameras see nothing of the scene"),
    "another world, sequence": (lambda: of_another_world(three_frames()), "their cameras see nothing of the scene"),
    "cameras that look away": (looking_away, "their cameras see nothing of the scene"),
    "no Gaussians": (lambda: chronosplat.refine(blobs().map(lambda t: t[:0]), views(), steps=3), "see nothing of the scene"),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("what", TABLE)
def test_bad_input(what: str) -> None:
    make, message = TABLE[what]
    with pytest.raises(InputError) as found:
        make()
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_a_single_view_works_with_a_notice() -> None:
    one = views()[[0]]
    done = refine_scene(wrong(blobs()), one, few(10))
    assert "a single input view" in said(done, "single-view-refinement")
    assert done.facts["strategy"] == "gentle"
    assert psnr_of(done.scene, one) > psnr_of(wrong(blobs()), one) + 2.5


@pytest.mark.parametrize("count", [2, 3])
def test_two_or_three_views_work(count: int) -> None:
    some = views()[list(range(count))]
    done = refine_scene(wrong(blobs()), some, few(40))
    assert done.facts["held_out"] == 0
    assert psnr_of(done.scene, some) > psnr_of(wrong(blobs()), some) + 5


def test_views_without_masks_work_with_a_notice() -> None:
    bare = replace(views(), images=views().on_white(), alphas=torch.ones_like(views().alphas))
    done = refine_scene(wrong(blobs()), bare, few(80))
    assert "no masks: refinement compares colours only" in said(done, "no-mask")
    assert psnr_of(done.scene, views()) > psnr_of(wrong(blobs()), views()) + 3.5


def test_views_of_double_precision_and_of_another_size_work() -> None:
    large = views_of(blobs(), orbit([0.0, 90.0, 180.0, 270.0], size=40), torch.full((4,), 1.0, dtype=torch.float64))
    double = replace(large, images=large.images.double(), alphas=large.alphas.double(), cameras=large.cameras.to(dtype=torch.float64))
    done = refine_scene(wrong(still(), 0.02, 0.0), double, few(20))
    assert psnr_of(done.scene, large) > psnr_of(wrong(still(), 0.02, 0.0), large) + 1


def test_two_objects_are_both_kept() -> None:
    """Two blobs apart, seen from eight sides at four timestamps: neither is lost, and neither moves the other."""
    sides = (2.0 * (torch.arange(len(blobs().means)) % 2) - 1)[:, None]
    apart = replace(blobs(), means=0.6 * blobs().means + sides * torch.tensor([0.3, 0.0, 0.0]), velocities=0.0 * blobs().velocities)
    times = torch.linspace(0.0, 2.0, 4, dtype=torch.float64).repeat_interleave(8)
    given = views_of(apart, orbit([45.0 * i for i in range(8)] * 4, size=48), times)
    done = fit(given, few(150, strategy="deform", search=0.0))
    points = done.scene.at(1.0).means
    assert float((points[:, 0] > 0.15).float().mean()) > 0.25
    assert float((points[:, 0] < -0.15).float().mean()) > 0.25
    assert psnr_of(done.scene, given) > 25
