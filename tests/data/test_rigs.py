"""Rigs: which cameras a clip has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chronosplat.cameras import FOVY, RADIUS
from chronosplat.data.clips import fixed_ring
from chronosplat.data.rigs import RIGS, Lens, Rig, make_rig, random_lens
from chronosplat.shapes import InputError


def made(name: str, frames: int = 24, views: int = 32, seed: int = 0, lens: Lens | None = None) -> Rig:
    """A rig of 16x16 images."""
    return make_rig(name, frames, 16, views, lens or Lens(), np.random.default_rng(seed))


def centers(rig: Rig) -> torch.Tensor:
    """Camera centres [T, V, 3]."""
    return torch.stack([rig.at(i).centers for i in range(len(rig.viewmats))])


@pytest.mark.parametrize("name", RIGS)
def test_every_camera_looks_at_the_object(name: str) -> None:
    rig = made(name)
    assert rig.viewmats.shape[0] == 24
    assert rig.viewmats.shape[1] == len(rig.Ks) == len({v for group in rig.groups.values() for v in group})
    for frame in (0, 11, 23):
        cameras = rig.at(frame)
        torch.testing.assert_close(cameras.forwards, -cameras.centers / cameras.centers.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", RIGS)
def test_rigs_follow_their_generator(name: str) -> None:
    assert torch.equal(made(name).viewmats, made(name).viewmats)
    assert not torch.equal(made(name).viewmats, made(name, seed=1).viewmats)


def test_l4gm_has_its_ring_and_random_views() -> None:
    rig = made("l4gm")
    assert rig.is_constant
    assert rig.viewmats.shape[1] == 48
    torch.testing.assert_close(rig.at(0).viewmats[:16], fixed_ring(16).viewmats)
    assert rig.groups["fixed"] == list(range(16))
    assert rig.groups["random"] == list(range(16, 48))
    canonical = centers(rig)[0, rig.groups["canonical"]]
    torch.testing.assert_close(canonical, 1.5 * torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0]]), atol=1e-5, rtol=0)


def test_4d_lrm_has_144_renderings_of_24_frames() -> None:
    rig = made("4d-lrm")
    at = centers(rig)
    assert at.shape[:2].numel() == 144
    assert not rig.is_constant
    assert bool((at[:, rig.groups["canonical"]] == at[:1, rig.groups["canonical"]]).all())
    steps = at[1:, rig.groups["moving"]] - at[:-1, rig.groups["moving"]]
    assert bool((steps.norm(dim=-1) > 1e-3).all())
    elevated, orbit = at[:, 4], at[:, 5]
    assert float((elevated.norm(dim=1) - RADIUS).abs().max()) < 1e-4
    assert bool((elevated[:, 1] > RADIUS * np.sin(np.radians(19.9))).all())
    assert 0.05 < float(orbit.norm(dim=1).max() - orbit.norm(dim=1).min()) < 0.51 * RADIUS


def test_a_studio_surrounds_the_object() -> None:
    rig = made("studio", views=48)
    at = centers(rig)[0] / RADIUS
    assert rig.is_constant
    assert rig.groups == {"studio": list(range(48))}
    assert float(at[:, 1].min()) > np.sin(np.radians(-20.1))
    assert float(at[:, 1].max()) < np.sin(np.radians(60.1))
    nearest = (torch.cdist(at, at) + 9 * torch.eye(48)).min(1).values
    assert float(nearest.min()) > 0.2  # evenly spread
    assert float(nearest.max()) < 0.6


@pytest.mark.parametrize("seed", range(20))
def test_random_lenses_keep_the_size_of_the_object(seed: int) -> None:
    lens = random_lens(np.random.default_rng(seed))
    share = (RADIUS * np.tan(np.radians(FOVY) / 2)) / (lens.radius * np.tan(np.radians(lens.fovy) / 2))
    assert 0.75 < share < 1.06
    rig = made("l4gm", lens=lens)
    assert float(rig.at(0).centers.norm(dim=1)[0]) == pytest.approx(lens.radius, rel=1e-4)
    assert 16 / (2 * float(rig.Ks[0, 0, 0])) == pytest.approx(np.tan(np.radians(lens.fovy) / 2), rel=1e-4)


def test_an_unknown_rig_is_refused() -> None:
    with pytest.raises(InputError, match="rig 'dome': unknown; use one of l4gm, 4d-lrm, studio"):
        made("dome")
