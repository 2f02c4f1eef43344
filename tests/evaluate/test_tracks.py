"""Tracks: points lie on the moving surface, are visible, and the error of a scene that follows them is the distance in the world."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from chronosplat.assets import Material, PreparedSurface, Surface
from chronosplat.assets.mesh import vertex_normals
from chronosplat.cameras import orbit
from chronosplat.evaluate import benchmark
from chronosplat.evaluate.benchmark import EvalConfig, evaluate
from chronosplat.evaluate.setups import SETUPS
from chronosplat.evaluate.studio import MeshStudio, ViewSpec
from chronosplat.evaluate.tracks import POINTS, Tracks, surface_tracks, track_error
from chronosplat.scenes import DeformableGaussians, Gaussians3D, Tracked
from tests.evaluate.kit import mesh_studio, scene_studio

CUBE = np.array([[x, y, z] for x in (-0.4, 0.4) for y in (-0.4, 0.4) for z in (-0.4, 0.4)], np.float32)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))], np.int32)
SPEED = np.array([0.1, 0.02, -0.05])
SECONDS = np.array([0.0, 0.5, 2.0])


def cube_tracks(azimuths: list[float], first: int = 0) -> Tracks:
    """Of a cube that moves in a line, seen from some sides at one time."""
    surface = Surface(FACES, np.zeros(12, np.int32), np.zeros((8, 4), np.float32), np.ones((8, 4), np.float32), (Material(two_sided=True),))
    poses = [((CUBE + SPEED * t).astype(np.float32), vertex_normals(CUBE, FACES)) for t in SECONDS]
    found = surface_tracks(PreparedSurface(surface), poses, SECONDS, first, orbit(azimuths, 0.0, 256), np.random.default_rng(0))
    assert found is not None
    return found


@pytest.mark.parametrize(("azimuths", "sides"), [([0.0], {(2, 1)}), ([180.0], {(2, -1)}), ([0.0, 90.0], {(2, 1), (0, 1)})])
def test_points_are_on_the_sides_that_a_camera_sees(azimuths: list[float], sides: set[tuple[int, int]]) -> None:
    tracks = cube_tracks(azimuths)
    points = tracks.positions[0]
    assert points.shape == (POINTS, 3)
    assert float((points.abs().amax(1) - 0.4).abs().max()) < 1e-6  # on the cube
    largest = points.abs().argmax(1)
    signs = points.gather(1, largest[:, None])[:, 0].sign().int()
    seen = [(int(axis), int(sign)) for axis, sign in zip(largest, signs, strict=True)]
    # all but those within the tolerance behind an edge
    assert np.mean([side in sides for side in seen]) > 0.95
    assert all(seen.count(side) > 0.4 * POINTS for side in sides)


def test_points_spread_over_the_surface_and_move_with_it() -> None:
    tracks = cube_tracks([0.0], first=1)
    points = tracks.positions[1] - torch.from_numpy(SPEED * 0.5)
    assert float(points[:, :2].min()) < -0.35
    assert float(points[:, :2].max()) > 0.35
    assert float(points[:, :2].mean(0).abs().max()) < 0.06
    for t, frame in zip(SECONDS, tracks.positions, strict=True):
        torch.testing.assert_close(frame, points + torch.from_numpy(SPEED * t), atol=1e-6, rtol=0)


def test_large_triangles_have_more_points() -> None:
    """A plate of a strip 0.1 wide and one 0.7 wide, two triangles each."""
    plate = np.array([[x, y, 0.0] for x in (-0.4, -0.3, 0.4) for y in (-0.4, 0.4)], np.float32)
    faces = np.array([[0, 2, 3], [0, 3, 1], [2, 4, 5], [2, 5, 3]], np.int32)
    surface = Surface(faces, np.zeros(4, np.int32), np.zeros((6, 4), np.float32), np.ones((6, 4), np.float32), (Material(two_sided=True),))
    poses = [(plate, vertex_normals(plate, faces))]
    found = surface_tracks(PreparedSurface(surface), poses, SECONDS[:1], 0, orbit([0.0], 0.0, 256), np.random.default_rng(0))
    assert found is not None
    assert float((found.positions[0, :, 0] < -0.3).double().mean()) == pytest.approx(0.125, abs=0.07)


def test_nothing_visible_gives_no_tracks() -> None:
    surface = Surface(FACES, np.zeros(12, np.int32), np.zeros((8, 4), np.float32), np.ones((8, 4), np.float32), (Material(two_sided=True),))
    far = [((CUBE + [50, 0, 0]).astype(np.float32), vertex_normals(CUBE, FACES))]
    assert surface_tracks(PreparedSurface(surface), far, SECONDS[:1], 0, orbit([0.0], 0.0, 64), np.random.default_rng(0)) is None


def test_a_studio_tracks_what_its_first_inputs_see() -> None:
    studio = mesh_studio(8)
    inputs = [ViewSpec(40.0, 10.0, 5), ViewSpec(0.0, 0.0, 2), ViewSpec(90.0, 0.0, 2)]
    tracks = studio.tracks(inputs)
    assert tracks is not None
    assert tracks.first == 2
    assert tracks.seconds.tolist() == studio.seconds.tolist()
    assert tracks.positions.shape == (8, POINTS, 3)
    assert torch.equal(tracks.positions, studio.tracks(inputs[1:]).positions)
    assert not torch.equal(tracks.positions, studio.tracks(inputs[:2]).positions)
    low, high = (np.stack([f(p, 0) for p, _ in studio.poses]) for f in (np.min, np.max))
    assert bool((tracks.positions >= torch.from_numpy(low)[:, None] - 1e-6).all())
    assert bool((tracks.positions <= torch.from_numpy(high)[:, None] + 1e-6).all())
    seed = MeshStudio.__new__(MeshStudio)
    seed.__dict__ |= studio.__dict__ | {"seed": 1}
    assert not torch.equal(tracks.positions, seed.tracks(inputs).positions)


@dataclass
class Follower:
    """Follows points along a line, and adds an error."""

    velocity: Tensor
    error: float = 0.0

    def tracks(self, points: Tensor, at: float, seconds: Tensor) -> Tensor:
        moved = points[None] + self.velocity * (seconds[:, None, None] - at)
        return moved + self.error * torch.tensor([0.6, 0.0, 0.8])


def test_the_error_is_the_mean_distance() -> None:
    tracks = cube_tracks([0.0], first=1)
    assert isinstance(Follower(torch.zeros(3)), Tracked)
    assert track_error(Follower(torch.from_numpy(SPEED)), tracks) < 1e-6
    assert track_error(Follower(torch.from_numpy(SPEED), 0.07), tracks) == pytest.approx(0.07, abs=1e-6)
    still = float(np.linalg.norm(SPEED)) * np.abs(SECONDS - 0.5).mean()
    assert track_error(Follower(torch.zeros(3)), tracks) == pytest.approx(still, abs=1e-6)


def test_scenes_without_tracks_and_captures_without_truth_are_not_measured() -> None:
    tracks, scene = cube_tracks([0.0]), scene_studio(8).scene
    assert not isinstance(scene, Tracked)
    assert math.isnan(track_error(scene, tracks))
    assert math.isnan(track_error(None, tracks))
    assert math.isnan(track_error(Follower(torch.zeros(3)), None))


def body(speed: np.ndarray, seconds: np.ndarray) -> DeformableGaussians:
    """One node that moves in a line, with Gaussians on a grid."""
    grid = torch.linspace(-0.4, 0.4, 5)
    means = torch.cartesian_prod(grid, grid, grid)
    knots = torch.from_numpy(seconds)
    return DeformableGaussians(
        means=means, quats=torch.tensor([[1.0, 0, 0, 0]]).expand(len(means), 4), scales=torch.full((len(means), 3), 0.05),
        opacities=torch.full((len(means),), 0.5), colors=torch.full((len(means), 3), 0.5), nodes=torch.zeros(1, 3),
        skin_nodes=torch.zeros(len(means), 1, dtype=torch.int64), skin_weights=torch.ones(len(means), 1), knots=knots,
        shifts=(knots[:, None] * torch.from_numpy(speed)).float()[:, None], turns=torch.zeros(len(knots), 1, 3),
    )  # fmt: skip


def test_a_deformable_scene_is_measured() -> None:
    tracks = cube_tracks([0.0, 90.0], first=1)
    scene = body(SPEED, SECONDS)
    assert isinstance(scene, Tracked)
    assert track_error(scene, tracks) < 1e-5
    assert track_error(body(0 * SPEED, SECONDS), tracks) == pytest.approx(np.linalg.norm(SPEED) * np.abs(SECONDS - 0.5).mean(), abs=1e-5)


def test_rows_hold_the_track_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a body that stays where it is: how far the points of the blob move on average."""
    studio = mesh_studio(8)

    class Still:
        def reconstruct(self, views: object) -> DeformableGaussians:
            return body(0 * SPEED, studio.seconds)

    monkeypatch.setattr(benchmark, "load_model", lambda *_: Still())
    monkeypatch.setattr(benchmark, "open_studio", lambda *_: studio)
    config = EvalConfig(("blob",), setup=("dense4",), methods=("white", "feed-forward"), lpips="off")
    white, still = evaluate(config).rows
    assert math.isnan(white.track_error)
    tracks = SETUPS["dense4"].split(studio).tracks
    assert tracks is not None
    moved = float((tracks.positions - tracks.positions[tracks.first]).norm(dim=-1).mean())
    assert moved > 0.005
    assert still.track_error == pytest.approx(moved, rel=1e-4)


def test_protocol_is_told_by_the_method() -> None:
    flat = Gaussians3D(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1, 3), torch.ones(1), torch.ones(1, 3))
    assert not isinstance(flat, Tracked)
    assert isinstance(replace(body(SPEED, SECONDS)), Tracked)
