"""The native file gives back what was put in, and refuses everything else by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from chronosplat.scenes import Clock, Gaussians3D, Gaussians4D, Scene, load_scene, save_scene
from chronosplat.shapes import InputError
from tests.scene_kit import moving_scene, sequence_scene, static_scene, tilted_world

SCENES = [
    static_scene(),
    static_scene(world=tilted_world()),
    static_scene(0),
    static_scene(1),
    static_scene(dtype=torch.float64),
    static_scene().to(dtype=torch.bfloat16),
    sequence_scene(world=tilted_world()),
    sequence_scene(frames=1, count=1),
    moving_scene(),
    moving_scene(world=tilted_world(), clock=Clock(-0.1, 1 / 3), seconds=(0.1, 1e9 + 0.7)),
]
IDS = [f"{type(scene).__name__}{i}" for i, scene in enumerate(SCENES)]


def rewritten(path: Path, metadata: dict[str, str | None], drop: tuple[str, ...] = (), add: tuple[str, ...] = ()) -> Path:
    """A scene file with metadata replaced, or taken out where None, and tensors taken out or added."""
    save_scene(moving_scene(), path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in moving_scene().tensors() if name not in drop}
        kept = {**file.metadata(), **metadata}
    save_file(tensors | {name: torch.zeros(6) for name in add}, path, {k: v for k, v in kept.items() if v is not None})
    return path


@pytest.mark.parametrize("scene", SCENES, ids=IDS)
def test_round_trip(tmp_path: Path, scene: Scene) -> None:
    path = tmp_path / "new" / "scene.safetensors"
    save_scene(scene, path)
    loaded = load_scene(str(path))
    assert type(loaded) is type(scene)
    assert list(loaded.tensors()) == list(scene.tensors())
    for name, tensor in scene.tensors().items():
        found = loaded.tensors()[name]
        assert found.dtype == tensor.dtype, name
        assert torch.equal(found, tensor), name
    assert loaded.world.scale == scene.world.scale
    torch.testing.assert_close(loaded.world.rotation, scene.world.rotation, rtol=0, atol=1e-15)
    assert torch.equal(loaded.world.translation, scene.world.translation)
    assert loaded.world.is_identity() == scene.world.is_identity()
    if isinstance(scene, Gaussians4D):
        assert isinstance(loaded, Gaussians4D)
        assert (loaded.clock, loaded.seconds) == (scene.clock, scene.seconds)
    assert [p.name for p in path.parent.iterdir()] == ["scene.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_fields_that_share_memory_are_saved(tmp_path: Path) -> None:
    packed = torch.rand(1, 14)  # slices of one row are contiguous views into the same memory
    narrow = Gaussians3D(packed[:, :3], packed[:, 3:7], packed[:, 7:10], packed[:, 10], packed[:, 11:14])
    x = torch.rand(4, 3)
    painted_by_place = Gaussians3D(x, torch.rand(4, 4), torch.rand(4, 3), torch.rand(4), colors=x)
    for scene in (narrow, painted_by_place):
        save_scene(scene, tmp_path / "scene.safetensors")
        loaded = load_scene(tmp_path / "scene.safetensors")
        for name, tensor in scene.tensors().items():
            assert torch.equal(loaded.tensors()[name], tensor), name


def test_gradients_and_strides_do_not_matter(tmp_path: Path) -> None:
    scene = static_scene().map(lambda x: x.clone().requires_grad_())
    turned = scene.map(lambda x: x.T.contiguous().T if x.ndim == 2 else x)
    save_scene(turned, tmp_path / "scene.safetensors")
    loaded = load_scene(tmp_path / "scene.safetensors")
    for name, tensor in scene.tensors().items():
        assert torch.equal(loaded.tensors()[name], tensor), name


def test_notes_are_kept_but_cannot_replace_the_files_own_metadata(tmp_path: Path) -> None:
    path = tmp_path / "scene.safetensors"
    save_scene(static_scene(), path, {"model": "mini", "kind": "nonsense", "chronosplat_schema": "7"})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert (metadata["model"], metadata["kind"], metadata["chronosplat_schema"]) == ("mini", "Gaussians3D", "1")
    assert isinstance(load_scene(path), Gaussians3D)


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scene.safetensors"
    save_scene(static_scene(3), path)
    save_scene(moving_scene(4), path)
    assert load_scene(path).num_gaussians == 4


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.safetensors: no such scene file$"):
        load_scene(tmp_path / "absent.safetensors")
    with pytest.raises(InputError, match=r"no such scene file$"):
        load_scene(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "scene.safetensors"
    save_scene(moving_scene(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"scene\.safetensors: not a readable safetensors file, or truncated \("):
        load_scene(path)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scene.safetensors"
    path.write_bytes(b"ply\nformat binary_little_endian 1.0\nend_header\n" * 20)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_scene(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_tensors_that_are_no_scene_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"means": torch.zeros(2, 3)}, path, metadata)
    with pytest.raises(InputError, match=r"a safetensors file, but not a chronosplat scene \(no chronosplat_schema in its metadata\)$"):
        load_scene(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "scene.safetensors", {"chronosplat_schema": "2"})
    with pytest.raises(InputError, match=r"Gaussians4D schema 2, this version reads 1; update chronosplat$"):
        load_scene(path)


@pytest.mark.parametrize(("kind", "said"), [("Gaussians5D", "'Gaussians5D'"), (None, "None")])
def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path, kind: str | None, said: str) -> None:
    path = rewritten(tmp_path / "scene.safetensors", {"kind": kind})
    with pytest.raises(
        InputError, match=f"unknown kind of scene {said}; known: Gaussians3D, GaussianSequence, Gaussians4D, DeformableGaussians$"
    ):
        load_scene(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"world": None},
        {"world": "no json"},
        {"world": "[]"},
        {"world": json.dumps({"scale": 1.0})},
        {"world": json.dumps({"scale": 1.0, "matrix": [[1.0, 0.0], [0.0]]})},
        {"world": json.dumps({"scale": 1.0, "matrix": [[1.0, 0.0], [0.0, 1.0]]})},
        {"clock": None},
        {"clock": json.dumps({"offset": 0.0, "speed": 1.0})},
        {"seconds": None},
        {"seconds": "[0.0]"},
        {"seconds": json.dumps(["zero", "one"])},
    ],
    ids=str,
)
def test_damaged_metadata_is_refused(tmp_path: Path, metadata: dict[str, str | None]) -> None:
    path = rewritten(tmp_path / "scene.safetensors", metadata)
    with pytest.raises(InputError, match=r"scene\.safetensors: damaged scene file \("):
        load_scene(path)


def test_missing_and_unknown_fields_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "scene.safetensors"
    with pytest.raises(InputError, match=r"damaged scene file .*'velocities'"):
        load_scene(rewritten(path, {}, drop=("velocities",)))
    with pytest.raises(InputError, match=r"damaged scene file .*'sh_rest'"):
        load_scene(rewritten(path, {}, add=("sh_rest",)))


def test_fields_of_another_length_are_refused_by_name(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "scene.safetensors", {}, drop=("velocities",), add=("velocities",))
    with pytest.raises(InputError, match=r"velocities: expected shape \[N=6, 3\], got \[6\]"):
        load_scene(path)
