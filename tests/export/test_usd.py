"""OpenUSD: what is written, what comes back, what is refused, and what a validator says."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chronosplat.export.formats  # noqa: F401 - registers the formats
from chronosplat.cameras import Similarity
from chronosplat.events import Events, Notice
from chronosplat.export import export, load_scene
from chronosplat.export.coordinates import oriented
from chronosplat.export.formats.usd import UsdOptions
from chronosplat.scenes import Gaussians3D, Scene
from chronosplat.shapes import InputError, UnavailableError
from tests.export.test_glb import assert_equal_images
from tests.scene_kit import covariances, law, moving_scene, seeds, sequence_scene, similarities, static_scene, tilted_world

pxr = pytest.importorskip("pxr", reason="usd-core is not installed (extra usd)")
from pxr import Sdf, Usd, UsdGeom, Vt  # noqa: E402

SPLATS = "/Scene/Splats"
RADIANCE = "radiance:sphericalHarmonicsCoefficients"


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files that are known to be whole without the process that tries them first."""
    monkeypatch.setattr(sys.modules["chronosplat.export.formats.usd"], "_probe", lambda path: None)


def splats(path: Path) -> Any:
    """The stage and its prim of splats."""
    stage = Usd.Stage.Open(str(path))
    return stage, stage.GetPrimAtPath(SPLATS)


def edited(path: Path, name: str, value: Any, time: float | None = None) -> Path:
    """Write another value into a file."""
    stage, prim = splats(path)
    prim.GetAttribute(name).Set(value) if time is None else prim.GetAttribute(name).Set(value, time)
    stage.GetRootLayer().Save()
    return path


@pytest.mark.usefixtures("no_probe")
@settings(law, max_examples=8)
@given(seeds(), similarities(), st.sampled_from([".usdc", ".usda", ".usd"]))
def test_static_gaussians_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int, world: Similarity, suffix: str) -> None:
    scene = static_scene(5, seed, world)
    again = load_scene(export(scene, tmp_path_factory.mktemp("usd") / f"static{suffix}"))
    before, after = oriented(scene, "y").at(0), again.at(0)
    for name in ("means", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(covariances(after), covariances(before), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(again.world.scale), torch.tensor(world.scale))


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize("suffix", [".usdc", ".usda"])
@pytest.mark.parametrize("scene", [static_scene(40), sequence_scene(3, 40, world=tilted_world()), moving_scene(40)])
def test_renders_as_before(tmp_path: Path, scene: Scene, suffix: str) -> None:
    again = load_scene(export(scene, tmp_path / f"a{suffix}", up="capture"))
    assert again.timestamps(24) == pytest.approx(scene.timestamps(24), abs=1e-6)
    assert_equal_images(scene, again)


def test_the_stage_says_what_readers_need(tmp_path: Path) -> None:
    stage, prim = splats(export(sequence_scene(3), tmp_path / "a.usda"))
    assert prim.GetTypeName() == "ParticleField3DGaussianSplat"
    assert stage.GetDefaultPrim().GetPath() == "/Scene"
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert stage.GetTimeCodesPerSecond() == pytest.approx(2 / 0.6)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 2)
    for name in ("positions", "orientations", "scales", "opacities", RADIANCE, "extent"):
        attribute = prim.GetAttribute(name)
        assert attribute.GetTimeSamples() == pytest.approx([0, 2 / 3, 2])
        assert attribute.Get() == attribute.Get(0)  # the default, for readers without time
    low, high = np.array(prim.GetAttribute("extent").Get())
    assert (np.array(prim.GetAttribute("positions").Get()) > low).all()
    assert (np.array(prim.GetAttribute("positions").Get()) < high).all()


def test_evenly_spaced_frames_have_whole_time_codes(tmp_path: Path) -> None:
    stage, prim = splats(export(moving_scene(), tmp_path / "a.usdc", times=[2.6 + i / 30 for i in range(7)]))
    assert stage.GetTimeCodesPerSecond() == pytest.approx(30)
    assert prim.GetAttribute("positions").GetTimeSamples() == list(range(7))


@pytest.mark.parametrize("linear", [False, True])
def test_the_colour_space_is_written_down(tmp_path: Path, linear: bool) -> None:
    scene = static_scene()
    path = export(scene, tmp_path / "a.usda", options=UsdOptions(linear=linear))
    _, prim = splats(path)
    radiance = prim.GetAttribute(RADIANCE)
    assert radiance.GetColorSpace() == ("lin_rec709_scene" if linear else "srgb_rec709_scene")
    values = np.array(radiance.Get()) * 0.28209479 + 0.5
    srgb = scene.colors.numpy()
    expected = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) if linear else srgb
    np.testing.assert_allclose(values, expected, atol=1e-6)
    torch.testing.assert_close(load_scene(path).at(0).colors, scene.colors, atol=1e-5, rtol=1e-5)


def test_unrelated_frames_are_not_mixed_between_samples(tmp_path: Path) -> None:
    """OpenUSD interpolates arrays of equal length; Gaussians of a sequence have nothing to do with those of the next frame."""
    scene = sequence_scene(3)
    _, prim = splats(export(scene, tmp_path / "a.usdc"))
    between = np.array(prim.GetAttribute("positions").Get(0.5))
    np.testing.assert_allclose(between, scene.frame(0).means, atol=1e-6)


def test_moving_gaussians_move_between_samples(tmp_path: Path) -> None:
    scene = moving_scene()
    _, prim = splats(export(scene, tmp_path / "a.usdc", times=[2.9, 3.1]))
    between = np.array(prim.GetAttribute("positions").Get(0.5))
    np.testing.assert_allclose(between, scene.at(3.0).means, atol=1e-5)


@pytest.mark.usefixtures("no_probe")
def test_z_up_stages_and_transforms_of_others_are_honoured(tmp_path: Path) -> None:
    scene = static_scene()
    path = export(scene, tmp_path / "a.usda")
    stage, prim = splats(path)
    prim.GetParent().ClearCustomData()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.Xformable(prim.GetParent()).AddTranslateOp().Set((1, 2, 3))
    UsdGeom.Xformable(prim.GetParent()).AddScaleOp().Set((2, 2, 2))
    stage.GetRootLayer().Save()
    again = load_scene(path)
    torch.testing.assert_close(again.at(0).means, scene.means * 2 + torch.tensor([1.0, 2, 3]))
    torch.testing.assert_close(again.world.points(torch.tensor([0.0, 1, 0])), torch.tensor([0.0, 0, 1]))  # its z is our y


@pytest.mark.usefixtures("no_probe")
def test_half_precision_and_higher_degrees_of_others_are_read(tmp_path: Path) -> None:
    scene = static_scene(4)
    path = export(scene, tmp_path / "a.usda")
    stage, prim = splats(path)
    prim.GetAttribute("positions").Clear()
    prim.GetAttribute("positionsh").Set(Vt.Vec3hArray.FromNumpy(scene.means.numpy().astype(np.float16)))
    harmonics = np.repeat(np.array(prim.GetAttribute(RADIANCE).Get()), 4, axis=0)
    harmonics[np.arange(len(harmonics)) % 4 > 0] = 9  # degree 1
    prim.GetAttribute(RADIANCE).Set(Vt.Vec3fArray.FromNumpy(harmonics))
    prim.GetAttribute("radiance:sphericalHarmonicsDegree").Set(1)
    stage.GetRootLayer().Save()
    notices: list[Notice] = []
    again = load_scene(path, Events(notice=notices.append)).at(0)
    torch.testing.assert_close(again.means, scene.means, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.colors, scene.colors)
    assert [notice.code for notice in notices] == ["harmonics"]


@pytest.mark.usefixtures("no_probe")
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("opacities", Vt.FloatArray([0.5]), "different lengths"),
        ("opacities", Vt.FloatArray([2.0] * 6), r"opacities outside \[0, 1\]"),
        ("scales", Vt.Vec3fArray([(-1, 1, 1)] * 6), "negative scales"),
        ("positions", Vt.Vec3fArray([(float("nan"), 0, 0)] * 6), "positions holds NaN"),
        ("radiance:sphericalHarmonicsDegree", 3, "6 radiance coefficients for 6 Gaussians of degree 3"),
        ("radiance:sphericalHarmonicsDegree", -7, "radiance coefficients"),
    ],
)
def test_damaged_values_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    path = edited(export(static_scene(), tmp_path / "a.usda"), name, value)
    with pytest.raises(InputError, match=message):
        load_scene(path)


@pytest.mark.usefixtures("no_probe")
def test_files_that_need_others_are_refused(tmp_path: Path) -> None:
    path = export(static_scene(), tmp_path / "a.usda")
    layer = Sdf.Layer.FindOrOpen(str(path))
    layer.subLayerPaths.append("/etc/passwd")
    layer.Save()
    with pytest.raises(InputError, match="refers to other files; flatten it first"):
        load_scene(path)


def test_a_stage_without_splats_is_refused(tmp_path: Path) -> None:
    stage = Usd.Stage.CreateNew(str(tmp_path / "a.usda"))
    UsdGeom.Xform.Define(stage, "/World")
    stage.GetRootLayer().Save()
    with pytest.raises(InputError, match="holds no ParticleField3DGaussianSplat"):
        load_scene(tmp_path / "a.usda")


@pytest.mark.parametrize("suffix", [".usdc", ".usda"])
@settings(law, max_examples=6)  # each starts a process
@given(st.data())
def test_only_input_errors_come_out_of_damaged_bytes(tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("usd")
    whole = bytearray(export(sequence_scene(2, 3), folder / f"whole{suffix}").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    file = folder / f"damaged{suffix}"
    file.write_bytes(bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))]))
    with suppress(InputError):
        load_scene(file).evaluate(torch.tensor([0.0]))


def test_a_file_that_makes_openusd_end_the_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(static_scene(), tmp_path / "a.usda")
    monkeypatch.setattr(sys.modules["chronosplat.export.formats.usd"], "PROBE", "import os; os.abort()")
    with pytest.raises(InputError, match="damaged: OpenUSD breaks off"):
        load_scene(path)


def test_without_usd_core_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(UnavailableError, match=r"usd-core is not installed; run: pip install 'chronosplat\[usd\]'"):
        export(static_scene(), tmp_path / "a.usdc")
    assert list(tmp_path.iterdir()) == []


def test_the_asset_validator_finds_nothing(tmp_path: Path) -> None:
    validator = pytest.importorskip("omni.asset_validator", reason="omniverse-asset-validator is not installed")

    def check(path: Path) -> list[str]:
        engine = validator.ValidationEngine()
        names = ("GaussianSplatSchemaChecker", "StageMetadataChecker", "TypeChecker", "ExtentsChecker", "DefaultPrimChecker")
        for name in (name for name in names if hasattr(validator, name)):
            engine.enable_rule(getattr(validator, name))
        return [str(issue.message) for issue in engine.validate(str(path)).issues()]

    path = export(sequence_scene(3), tmp_path / "a.usdc")
    assert check(path) == []
    one = Gaussians3D(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1, 3), torch.ones(1) * 0.5, torch.ones(1, 3))
    broken = edited(export(one, tmp_path / "b.usda"), "opacities", Vt.FloatArray([1.5]))
    assert any("Opacity at index 0" in message for message in check(broken))  # rule VG.035 looks at our prim
