"""The clip bank: reproducible clips, kept on disk, from the files that are allowed."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chronosplat.data import bank as bank_module
from chronosplat.data.bank import BankRecipe, ClipBank, clip_count
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import two_joint_strip

SMALL = BankRecipe(size=16, frames=3, extra_views=2, samples=1)


def models(folder: Path, *stems: str) -> str:
    """A folder of small animated files."""
    folder.mkdir()
    for stem in stems:
        maker = two_joint_strip()
        maker.json["materials"] = [{"doubleSided": True}]
        maker.json["meshes"][0]["primitives"][0]["material"] = 0
        maker.save(folder, f"{stem}.glb")
    return str(folder)


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [f for f in folder.rglob("*") if f.is_file()]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a bank's files by name."""
    return {f.name: f.read_bytes() for f in files(folder)}


def test_a_clip_has_the_recipes_shape(tmp_path: Path) -> None:
    clip = ClipBank(SMALL, tmp_path).clip(3)
    assert clip.rgba.shape == (3, 6, 16, 16, 4)
    assert clip.rgba.dtype == np.uint8
    assert clip.viewmats.shape == (6, 4, 4)
    assert clip.Ks.shape == (6, 3, 3)
    assert clip.rgba[..., 3].any()
    assert isinstance(clip.rgba, np.memmap)


@pytest.mark.parametrize("with_assets", [False, True])
def test_clips_are_the_same_in_two_folders(tmp_path: Path, with_assets: bool) -> None:
    recipe = replace(SMALL, assets=models(tmp_path / "models", "a", "b") if with_assets else "", procedural=0.5 if with_assets else 1.0)
    one, two = ClipBank(recipe, tmp_path / "one"), ClipBank(recipe, tmp_path / "two")
    first = [one.clip(i) for i in range(4)]
    second = [two.clip(i) for i in reversed(range(4))][::-1]  # the order of asking does not matter
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.viewmats, b.viewmats)
        assert torch.equal(a.Ks, b.Ks)
    assert contents(one.folder)
    assert contents(one.folder) == contents(two.folder)
    assert len({c.rgba.tobytes() for c in first}) == 4


def test_a_second_read_does_not_render_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = ClipBank(SMALL, tmp_path).clip(0)
    stamps = {f: f.stat().st_mtime_ns for f in files(tmp_path)}

    def refuse(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(ClipBank, "_mesh", refuse)
    again = ClipBank(SMALL, tmp_path).clip(0)
    assert {f: f.stat().st_mtime_ns for f in files(tmp_path)} == stamps
    assert np.array_equal(fresh.rgba, again.rgba)
    assert torch.equal(fresh.viewmats, again.viewmats)  # the rig is drawn before the mesh, so it is known without it


def test_missing_files_are_rendered_again_the_same(tmp_path: Path) -> None:
    bank = ClipBank(SMALL, tmp_path)
    bank.clip(1)
    before = contents(bank.folder)
    for name in before:
        (bank.folder / name).unlink()
        bank.clip(1)
        assert contents(bank.folder) == before


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, _: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        ClipBank(SMALL, tmp_path).clip(0)
    assert not files(tmp_path)


def test_banks_of_different_recipes_do_not_mix(tmp_path: Path) -> None:
    recipes = [SMALL, replace(SMALL, seed=1), replace(SMALL, size=24), replace(SMALL, exclude=("a",)), replace(SMALL, procedural=0.1)]
    assert len({ClipBank(r, tmp_path).folder for r in recipes}) == len(recipes)
    assert SMALL.digest() == BankRecipe(size=16, frames=3, extra_views=2, samples=1).digest()


def test_seeds_give_different_clips(tmp_path: Path) -> None:
    one, two = (ClipBank(replace(SMALL, seed=s), tmp_path).clip(0) for s in (0, 1))
    assert not np.array_equal(one.rgba, two.rgba)


def test_excluded_stems_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = bank_module.GltfModel

    def watch(path: str, clip: str | int = 0) -> object:
        opened.append(Path(path).stem)
        return real(path, clip)

    monkeypatch.setattr(bank_module, "GltfModel", watch)
    recipe = replace(SMALL, assets=models(tmp_path / "models", "cat", "dog", "held_out"), exclude=("held_out", "absent"), procedural=0.0)
    bank = ClipBank(recipe, tmp_path / "bank")
    for i in range(12):
        bank.clip(i)
    assert set(opened) == {"cat", "dog"}
    assert [f.stem for f in bank.files] == ["cat", "dog"]


@pytest.mark.parametrize(("share", "procedural"), [(1.0, 8), (0.0, 0)])
def test_share_of_procedural_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, procedural: int) -> None:
    made: list[int] = []
    real = bank_module.procedural_object

    def watch(seed: int) -> object:
        made.append(seed)
        return real(seed)

    monkeypatch.setattr(bank_module, "procedural_object", watch)
    bank = ClipBank(replace(SMALL, assets=models(tmp_path / "models", "cat"), procedural=share), tmp_path / "bank")
    for i in range(8):
        bank.clip(i)
    assert len(made) == procedural


def test_times_are_a_stretch_of_the_motion_forwards_or_backwards(tmp_path: Path) -> None:
    bank, kinds = ClipBank(replace(SMALL, frames=5), tmp_path), set()
    for i in range(60):
        mesh, seconds = bank._mesh(np.random.default_rng(i))
        steps = np.diff(seconds)
        assert len(seconds) == 5
        assert -1e-9 <= seconds.min() <= seconds.max() <= mesh.duration + 1e-9
        assert np.ptp(steps) < 1e-9
        assert 0.3 * mesh.duration - 1e-9 <= abs(steps.sum())
        kinds.add((bool(steps[0] > 0), bool(np.isclose(abs(steps.sum()), mesh.duration))))
    assert len(kinds) == 4


@pytest.mark.parametrize("make", [False, True])
def test_unknown_or_empty_folder_is_refused(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nowhere"
    if make:
        folder.mkdir()
    with pytest.raises(InputError, match=r"nowhere: no \.glb files to train on"):
        ClipBank(replace(SMALL, assets=str(folder)), tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_everything_excluded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.glb files to train on"):
        ClipBank(replace(SMALL, assets=models(tmp_path / "models", "cat"), exclude=("cat",)), tmp_path / "bank")


def test_a_bank_travels_to_workers(tmp_path: Path) -> None:
    bank = ClipBank(SMALL, tmp_path)
    assert np.array_equal(pickle.loads(pickle.dumps(bank)).clip(2).rgba, bank.clip(2).rgba)


def test_clip_count(tmp_path: Path) -> None:
    maker = two_joint_strip()
    maker.animation("again", (2, "translation", [0, 1], [(0, 1, 0), (0, 2, 0)], "LINEAR"))
    assert clip_count(str(maker.save(tmp_path))) == 2
