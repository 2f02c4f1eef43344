"""Merges: both scenes are there, at their offsets in space and time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import chronosplat as cs
from chronosplat.edit import Merge, edit
from chronosplat.events import Events
from tests.edit.edit_kit import KINDS, every_kind, seen, times_of

PAIRS = [(a, b) for a in KINDS for b in KINDS]


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_a_merge_holds_both_scenes(kind: str, other: str, tmp_path: Path) -> None:
    first, second = KINDS[kind](), KINDS[other]()
    cs.save_scene(second, tmp_path / "b.safetensors")
    codes: list[str] = []
    merged = edit(first, [Merge(str(tmp_path / "b.safetensors"), (5.0, 0.0, 0.0))], Events(lambda notice: codes.append(notice.code)))
    pieces = "deformable" in (kind, other) and "sequence" not in (kind, other)
    assert ("linear-pieces" in codes) == pieces
    assert ("merge-spans" in codes) == ({kind, other} == {"linear", "deformable"})
    torch.testing.assert_close(merged.world.matrix(), first.world.matrix())
    spans = [scene.seconds for scene in (first, second) if scene.seconds]
    assert merged.seconds == (None if not spans else pytest.approx((min(s[0] for s in spans), max(s[1] for s in spans))))
    span = (max(s[0] for s in spans), min(s[1] for s in spans)) if spans else (0.0, 0.0)
    for seconds in (t for t in times_of(merged, 9) if not pieces or span[0] <= t <= span[1]):
        both = [scene.at(min(max(seconds, scene.seconds[0]), scene.seconds[1]) if scene.seconds else 0.0) for scene in (first, second)]
        if "sequence" not in (kind, other):  # Gaussians in linear motion go on beyond their span
            both = [scene.at(seconds) for scene in (first, second)]
        mass = sum(still.opacities.sum() for still in both)
        wanted = (both[0].opacities @ both[0].means + both[1].opacities @ (both[1].means + torch.tensor([5.0, 0, 0]))) / mass
        found = merged.at(seconds)
        centre = found.opacities @ found.means / found.opacities.sum()
        if pieces:  # pieces overlap, so that their opacities do not add up; places do
            assert int((seen(found).means[:, 0] > 2).sum()) > 0
        else:
            torch.testing.assert_close(centre, wanted, rtol=1e-4, atol=1e-4)


@every_kind
def test_a_delay_shifts_the_other_scene(kind: str, tmp_path: Path) -> None:
    scene = KINDS[kind]()
    cs.save_scene(scene, tmp_path / "b.safetensors")
    merged = edit(KINDS["sequence"](), [Merge(str(tmp_path / "b.safetensors"), (50.0, 0.0, 0.0), delay=7.0)])
    for seconds in times_of(scene):
        found = merged.at(seconds + 7)
        there = found.map(lambda t, found=found: t[(found.means[:, 0] > 25) & (found.opacities >= 1 / 255)])
        wanted = seen(scene.at(seconds))
        if kind in ("static", "sequence"):
            torch.testing.assert_close(there.means, wanted.means + torch.tensor([50.0, 0, 0]), rtol=1e-5, atol=1e-4)
        else:  # the nearest of 24 sampled times
            assert float((there.means.mean(0) - wanted.means.mean(0) - torch.tensor([50.0, 0, 0])).norm()) < 0.3


def test_a_scene_merged_with_itself_has_twice_the_gaussians(tmp_path: Path) -> None:
    for kind, scene in ((kind, make()) for kind, make in KINDS.items() if kind != "deformable"):
        cs.save_scene(scene, tmp_path / f"{kind}.safetensors")
        merged = edit(scene, [Merge(str(tmp_path / f"{kind}.safetensors"))])
        assert merged.num_gaussians == 2 * scene.num_gaussians
        assert merged.kind == scene.kind
