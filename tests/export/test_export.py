"""``export``: suffixes choose formats, and ``up`` chooses the direction of +Y."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch

from chronosplat.cameras import Similarity
from chronosplat.export import RenderOptions, export, formats, read_ply, turntable_frames
from chronosplat.scenes import Gaussians3D, Gaussians4D, Scene, load_scene
from chronosplat.shapes import InputError
from tests.scene_kit import CLOCK, moving_scene, sequence_scene, static_scene, tilted_world

SCENES = [static_scene(), sequence_scene(), moving_scene()]
KINDS = [type(scene).__name__ for scene in SCENES]


def above(world: Similarity | None = None) -> Gaussians3D:
    """One small green Gaussian half a unit above the origin of its own world."""
    return Gaussians3D(
        means=torch.tensor([[0.0, 0.5, 0.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), 0.05),
        opacities=torch.tensor([0.95]),
        colors=torch.tensor([[0.0, 1.0, 0.0]]),
        world=world or Similarity(),
    )


@pytest.mark.parametrize(("scene", "kind"), [(static_scene(), Gaussians3D), (moving_scene(), Gaussians4D)])
def test_ply_holds_one_set_of_gaussians(tmp_path: Path, scene: Scene, kind: type) -> None:
    path = export(scene, str(tmp_path / "a.ply"))
    assert path == tmp_path / "a.ply"
    assert type(read_ply(path)) is kind
    assert read_ply(path).num_gaussians == scene.num_gaussians


def test_a_sequence_does_not_fit_into_one_ply(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"clip\.ply: \.ply holds Gaussians that move on straight lines, .* one file per time: .*clip_####\.ply$"
    ):
        export(sequence_scene(), tmp_path / "clip.ply")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip", "clip/", "clip.v2/"])
def test_a_folder_takes_a_sequence_of_plys(tmp_path: Path, name: str) -> None:
    path = export(sequence_scene(frames=3), f"{tmp_path}/{name}")
    assert path == tmp_path / name.rstrip("/")
    assert sorted(p.name for p in path.iterdir()) == ["frame_0000.ply", "frame_0001.ply", "frame_0002.ply", "frame_times.json"]
    export(moving_scene(), tmp_path / "frames", times=5)
    assert len(list((tmp_path / "frames").glob("*.ply"))) == 5


@pytest.mark.parametrize("scene", SCENES, ids=KINDS)
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_videos_have_the_requested_frames_and_size(tmp_path: Path, scene: Scene, suffix: str) -> None:
    path = export(scene, tmp_path / f"a{suffix}", options=RenderOptions(frames=3, size=16))
    with av.open(str(path)) as container:
        assert [(f.width, f.height) for f in container.decode(video=0)] == [(16, 16)] * 3


@pytest.mark.parametrize("scene", SCENES, ids=KINDS)
def test_safetensors_is_the_native_file(tmp_path: Path, scene: Scene) -> None:
    loaded = load_scene(export(scene, tmp_path / "a.safetensors"))
    assert type(loaded) is type(scene)
    assert torch.equal(loaded.means, scene.means)


@pytest.mark.parametrize("name", ["a.fbx", "a.gltf", "a.tar.gz", "a.ply.bak"])
def test_an_unknown_suffix_lists_the_formats(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as error:
        export(static_scene(), tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: unknown format {Path(name).suffix!r}; known: ")
    for suffix in (*formats(), "NAME/"):
        assert suffix in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_suffix_is_not_overwritten_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("kept")
    with pytest.raises(InputError, match="unknown format ''"):
        export(static_scene(), tmp_path / "a")
    assert (tmp_path / "a").read_text() == "kept"


@pytest.mark.parametrize(("up", "top"), [("y", (0, 1, 0)), ("z", (0, 0, 1)), ("y-down", (0, -1, 0))])
@pytest.mark.parametrize("world", [Similarity(), tilted_world()], ids=["own world", "tilted world"])
def test_up_takes_the_scenes_y_there_in_the_captures_units(tmp_path: Path, up: str, top: tuple[int, int, int], world: Similarity) -> None:
    found = read_ply(export(above(world), tmp_path / "a.ply", up=up))
    torch.testing.assert_close(found.means, 0.5 * world.scale * torch.tensor([top], dtype=torch.float32), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.scales, torch.full((1, 3), 0.05 * world.scale), rtol=1e-5, atol=0)


@pytest.mark.parametrize("up", ["y", "z", "y-down"])
def test_up_turns_and_never_mirrors(tmp_path: Path, up: str) -> None:
    corners = replace(static_scene(3, world=tilted_world()), means=torch.eye(3))
    found = read_ply(export(corners, tmp_path / "a.ply", up=up)).means / tilted_world().scale
    torch.testing.assert_close(found @ found.T, torch.eye(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.linalg.det(found).item(), 1.0, rtol=0, atol=1e-6)


def test_up_capture_keeps_the_captures_world(tmp_path: Path) -> None:
    found = read_ply(export(above(tilted_world()), tmp_path / "a.ply", up="capture"))
    torch.testing.assert_close(found.means, tilted_world().points(above().means), rtol=0, atol=1e-6)


def test_up_turns_motion_along(tmp_path: Path) -> None:
    rising = replace(moving_scene(2, world=tilted_world()), velocities=torch.tensor([[0.0, 1, 0], [0, 2, 0]]))
    found = read_ply(export(rising, tmp_path / "a.ply", up="z"))
    assert isinstance(found, Gaussians4D)
    speed = tilted_world().scale / CLOCK.rate
    torch.testing.assert_close(found.velocities, speed * torch.tensor([[0.0, 0, 1], [0, 0, 2]]), rtol=1e-6, atol=1e-6)


def test_an_unknown_up_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^up: expected auto, capture, y, z, y-down; got 'x'$"):
        export(static_scene(), tmp_path / "a.ply", up="x")
    assert list(tmp_path.iterdir()) == []


def test_turntables_stand_upright_in_any_world() -> None:
    for world in (Similarity(), tilted_world()):
        images = torch.stack(list(turntable_frames(above(world), frames=4, size=32)))
        assert images.shape == (4, 32, 32, 3)
        green = 1 - images[..., 0]  # the background is white
        rows = torch.arange(32) + 0.5
        heights = (green.sum(2) * rows).sum(1) / green.sum((1, 2))
        assert bool((heights < 13).all())
        torch.testing.assert_close(heights, torch.stack(turntable_heights()), rtol=0, atol=0.1)


def turntable_heights() -> list[torch.Tensor]:
    """The pixel rows where a point half a unit above the origin stands in four turntable images of 32 rows."""
    elevation, half_view = torch.deg2rad(torch.tensor(10.0)), torch.deg2rad(torch.tensor(49.1)) / 2
    depth = 1.5 - 0.5 * torch.sin(elevation)
    return [16 - 16 * 0.5 * torch.cos(elevation) / depth / torch.tan(half_view)] * 4


def test_a_turntable_runs_time_forwards_and_backwards() -> None:
    scene = replace(moving_scene(1), means=torch.zeros(1, 3), velocities=torch.zeros(1, 3), opacities=torch.tensor([0.9]))
    early = replace(scene, time_centers=torch.tensor([-1.0]), time_sigmas=torch.tensor([0.3]), scales=torch.full((1, 3), 0.2))
    covered = [float((1 - p).sum()) for p in turntable_frames(early, frames=8, size=16, loops=1)]
    assert covered[0] == max(covered)
    assert covered[4] == min(covered)
    torch.testing.assert_close(covered[1:4], covered[:4:-1], rtol=1e-4, atol=0)
