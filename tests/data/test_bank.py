"""The clip bank: reproducible clips, kept on disk, from the files that are allowed."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chronosplat.data import bank as bank_module
from chronosplat.data.bank import VALIDATION, BankRecipe, ClipBank
from chronosplat.data.sample import StoredClip
from chronosplat.data.shards import write_shard
from chronosplat.shapes import InputError
from tests.assets.gltf_maker import two_joint_strip

SMALL = BankRecipe(size=16, frames=3, extra_views=2, samples=1)


def models(folder: Path, *stems: str) -> str:
    """A folder of small animated files: the first shines red, the second green, the third blue."""
    folder.mkdir()
    for color, stem in zip(np.eye(3), stems, strict=False):
        maker = two_joint_strip()
        shine = {"pbrMetallicRoughness": {"baseColorFactor": [*color.tolist(), 1]}, "extensions": {"KHR_materials_unlit": {}}}
        maker.json["materials"] = [{"doubleSided": True, **shine}]
        maker.json["meshes"][0]["primitives"][0]["material"] = 0
        maker.save(folder, f"{stem}.glb")
    return str(folder)


def shown(clip: StoredClip) -> str:
    """Which of the models a clip shows, by its colour."""
    rgba = clip.clip().frames
    pixels = rgba[rgba[..., 3] == 255][:, :3]
    assert len(pixels) > 0
    pure = [name for name, color in zip(("red", "green", "blue"), np.eye(3), strict=True) if (pixels == 255 * color).all()]
    return pure[0] if pure else "procedural"


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [f for f in folder.rglob("*") if f.is_file()]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a bank's files by name."""
    return {f.name: f.read_bytes() for f in files(folder)}


def test_a_clip_has_the_recipes_shape(tmp_path: Path) -> None:
    clip = ClipBank(SMALL, tmp_path).clip(3).clip()
    assert clip.frames.shape == (3, 6, 16, 16, 4)
    assert clip.viewmats.shape == (3, 6, 4, 4)
    assert clip.Ks.shape == (3, 6, 3, 3)
    assert clip.frames[..., 3].any()
    assert clip.groups == {"canonical": [0, 1, 2, 3], "random": [4, 5]}
    assert clip.geometry is not None
    assert (clip.geometry[..., 0] > 0).sum() >= (clip.frames[..., 3] == 255).sum()


@pytest.mark.parametrize("with_assets", [False, True])
def test_clips_are_the_same_in_two_folders(tmp_path: Path, with_assets: bool) -> None:
    recipe = replace(SMALL, assets=models(tmp_path / "models", "a", "b") if with_assets else "", procedural=0.5 if with_assets else 1.0)
    one, two = ClipBank(recipe, tmp_path / "one"), ClipBank(recipe, tmp_path / "two")
    first = [one.clip(i) for i in range(4)]
    second = [two.clip(i) for i in reversed(range(4))][::-1]  # the order of asking does not matter
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.viewmats, b.viewmats)
        assert np.array_equal(a.Ks, b.Ks)
    assert contents(one.folder)
    assert contents(one.folder) == contents(two.folder)
    assert len({c.clip().frames.tobytes() for c in first}) == 4


def test_a_second_read_does_not_render_again(tmp_path: Path) -> None:
    """What lies there is taken, whatever it shows."""
    bank = ClipBank(SMALL, tmp_path)
    fresh = bank.clip(0).clip()
    other = replace(fresh, frames=255 - fresh.frames)
    write_shard(bank.folder / "000000.tar", [other])
    stamps = {f: f.stat().st_mtime_ns for f in files(tmp_path)}
    again = ClipBank(SMALL, tmp_path).clip(0).clip()
    assert {f: f.stat().st_mtime_ns for f in files(tmp_path)} == stamps
    assert np.array_equal(again.frames[..., 3], other.frames[..., 3])


def test_missing_files_are_rendered_again_the_same(tmp_path: Path) -> None:
    bank = ClipBank(SMALL, tmp_path)
    bank.clip(1)
    before = contents(bank.folder)
    for name in before:
        (bank.folder / name).unlink()
        bank.clip(1)
        assert contents(bank.folder) == before


def test_a_clip_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(bank_module, "render_clip", failing)
    with pytest.raises(OSError, match="no space left"):
        ClipBank(SMALL, tmp_path).clip(0)
    assert not files(tmp_path)


def test_banks_of_different_recipes_do_not_mix(tmp_path: Path) -> None:
    with_files = replace(SMALL, assets=models(tmp_path / "models", "a", "b"))
    changes = [{"clip_seed": 1}, {"size": 24}, {"procedural": 0.1}, {"frames": 4}, {"extra_views": 1}, {"samples": 2}]
    recipes = [SMALL, *(replace(SMALL, **change) for change in changes), with_files, replace(with_files, exclude=("a",))]
    assert len({ClipBank(r, tmp_path).folder for r in recipes}) == len(recipes)
    assert SMALL.digest() == BankRecipe(size=16, frames=3, extra_views=2, samples=1).digest()


def test_a_file_more_or_a_changed_one_is_another_bank(tmp_path: Path) -> None:
    """Clips choose their file by number: another set of files must not find clips of the old one."""
    recipe = replace(SMALL, assets=models(tmp_path / "models", "cat", "dog"), procedural=0.0)
    before = ClipBank(recipe, tmp_path / "bank")
    before.clip(0)
    shutil.copy(tmp_path / "models/cat.glb", tmp_path / "models/eel.glb")
    more = ClipBank(recipe, tmp_path / "bank")
    assert more.folder != before.folder
    assert not more.folder.exists()
    (tmp_path / "models/eel.glb").unlink()
    assert ClipBank(recipe, tmp_path / "bank").folder == before.folder
    shutil.copy(tmp_path / "models/cat.glb", tmp_path / "models/dog.glb")
    assert ClipBank(recipe, tmp_path / "bank").folder != before.folder


def test_the_same_files_in_another_folder_are_the_same_bank(tmp_path: Path) -> None:
    recipe = replace(SMALL, assets=models(tmp_path / "models", "cat", "dog"))
    digest = recipe.digest()
    (tmp_path / "models").rename(tmp_path / "moved")
    for file in (tmp_path / "moved").iterdir():
        os.utime(file, (1, 1))
    (tmp_path / "moved/notes.txt").write_text("not an asset")
    assert replace(recipe, assets=str(tmp_path / "moved")).digest() == digest


def test_the_validation_split_is_excluded_unless_included(tmp_path: Path) -> None:
    recipe = replace(SMALL, assets=models(tmp_path / "models", "cat", VALIDATION[0], VALIDATION[-1]), procedural=0.0)
    assert [f.stem for f in recipe.files()] == ["cat"]
    bank = ClipBank(recipe, tmp_path / "bank")
    assert {shown(bank.clip(i)) for i in range(12)} == {"red"}
    every = replace(recipe, include_validation=True)
    assert {f.stem for f in every.files()} == {"cat", VALIDATION[0], VALIDATION[-1]}
    assert {shown(ClipBank(every, tmp_path / "bank").clip(i)) for i in range(24)} == {"red", "green", "blue"}
    assert every.digest() != recipe.digest()
    assert [f.stem for f in replace(every, exclude=(VALIDATION[0],)).files()] == sorted(["cat", VALIDATION[-1]])


def test_a_folder_of_the_validation_split_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.glb files to train on"):
        ClipBank(replace(SMALL, assets=models(tmp_path / "models", *VALIDATION[:2])), tmp_path / "bank")


def test_seeds_give_different_clips(tmp_path: Path) -> None:
    one, two = (ClipBank(replace(SMALL, clip_seed=s), tmp_path).clip(0) for s in (0, 1))
    assert not np.array_equal(one.clip().frames, two.clip().frames)


def test_excluded_stems_are_never_used(tmp_path: Path) -> None:
    recipe = replace(SMALL, assets=models(tmp_path / "models", "cat", "dog", "held_out"), exclude=("held_out", "absent"), procedural=0.0)
    bank = ClipBank(recipe, tmp_path / "bank")
    assert {shown(bank.clip(i)) for i in range(12)} == {"red", "green"}
    assert [f.stem for f in bank.files] == ["cat", "dog"]


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, 24, 24), (0.5, 6, 18), (0.0, 0, 0)])
def test_share_of_procedural_clips(tmp_path: Path, share: float, least: int, most: int) -> None:
    bank = ClipBank(replace(SMALL, assets=models(tmp_path / "models", "cat"), procedural=share), tmp_path / "bank")
    names = [shown(bank.clip(i)) for i in range(24)]
    assert least <= names.count("procedural") <= most
    assert names.count("red") == 24 - names.count("procedural")


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
    assert np.array_equal(pickle.loads(pickle.dumps(bank)).clip(2).clip().frames, bank.clip(2).clip().frames)


def test_all_animations_of_a_file_are_used(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    maker = two_joint_strip()  # bends for one second
    maker.animation("again", (2, "translation", [0, 3], [(0, 1, 0), (0, 2, 0)], "LINEAR"))
    maker.save(tmp_path / "models")
    bank = ClipBank(replace(SMALL, assets=str(tmp_path / "models"), procedural=0.0), tmp_path / "bank")
    assert {bank._mesh(np.random.default_rng(i))[0].duration for i in range(20)} == {1, 3}
