"""The benchmark end to end at a small size, and what it refuses before anything runs."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from chronosplat.captures import save_transforms
from chronosplat.evaluate import benchmark
from chronosplat.evaluate.baselines import nearest_indices, nearest_inputs
from chronosplat.evaluate.benchmark import EvalConfig, Results, Row, as_dict, check, evaluate, load_perceptual, open_studio
from chronosplat.evaluate.setups import SETUPS
from chronosplat.evaluate.studio import CaptureStudio, MeshStudio, split_of
from chronosplat.events import Events, Notice
from chronosplat.metrics import flicker, foreground_psnr, mean_psnr, sharpness, silhouette_iou, ssim
from chronosplat.metrics.lite0 import Lite0, mean_lite0
from chronosplat.metrics.lpips import LPIPS
from chronosplat.shapes import InputError, UnavailableError
from tests.assets.gltf_maker import SQUARE, SQUARE_FACES, GltfMaker, two_joint_strip
from tests.evaluate.kit import Knowing, mesh_studio, ring, row, scene_studio
from tests.offline import no_network

BLOB = "procedural:blob"
SMALL = EvalConfig((BLOB,), size=32, times=8, methods=("white", "nearest", "feed-forward"), setup=("alternating", "video"), lpips="off")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is fetched."""
    no_network(monkeypatch, tmp_path / "no cache")


def changed(**what: Any) -> EvalConfig:
    return replace(SMALL, **what)


@cache
def evaluated() -> tuple[Results, tuple[Notice, ...], tuple[Row, ...], tuple[tuple[str, int, int], ...]]:
    """Results, notices, kept rows, and progress."""
    notices: list[Notice] = []
    kept: list[Row] = []
    told: list[tuple[str, int, int]] = []
    config = changed(views=(1, 2), seed=3, methods=("white", "nearest", "feed-forward"))
    events = Events(notices.append, lambda stage, done, total, note="": told.append((stage, done, total)))
    results = evaluate(config, events, kept.append)
    return results, tuple(notices), tuple(kept), tuple(told)


def test_a_row_for_every_setup_and_method() -> None:
    results, notices, kept, progress = evaluated()
    expected = [(s, m) for s in ("alternating", "video") for m in ("white", "nearest", "feed-forward")]
    expected += [("random, 1 views", "feed-forward"), ("random, 2 views", "feed-forward")]
    assert [(r.setup, r.method) for r in results.rows] == expected
    assert list(kept) == results.rows
    assert [notice.code for notice in notices] == ["row"] * len(expected)
    assert all(re.fullmatch(r"procedural:blob, .*: -?\d+\.\d\d dB in \d+\.\d s", str(notice)) for notice in notices)
    assert progress == tuple(("evaluating", i, 4) for i in range(5))


def test_rows_say_where_they_come_from() -> None:
    for found in evaluated()[0].rows:
        assert (found.capture, found.model, found.seed, found.device) == (BLOB, "4d-lrm-mini", 3, "cpu")
        assert (found.width, found.height) == (32, 32)
        assert re.fullmatch(r"([0-9a-f]{7,40}(-dirty)?)?|.*-g[0-9a-f]{7,40}(-dirty)?", found.commit)
        assert found.commit == benchmark.commit()
        assert found.threads == torch.get_num_threads()


def test_figures_are_of_the_right_images() -> None:
    rows = {(r.setup, r.method): r for r in evaluated()[0].rows}
    counts = {setup: (r.inputs, r.targets) for (setup, _), r in rows.items()}
    assert counts == {"alternating": (8, 32), "video": (11, 29), "random, 1 views": (1, 40), "random, 2 views": (2, 40)}
    for found in rows.values():
        canonical = found.targets - 8
        mean = (canonical * found.psnr_canonical + 8 * found.psnr_random) / found.targets
        assert found.psnr == pytest.approx(mean)
        assert math.isnan(found.lpips)
    studio = open_studio(BLOB, 32, 8, seed=3)
    for setup in ("alternating", "video"):
        split = split_of(studio, SETUPS[setup].inputs(studio, 8))
        wanted, views = split.targets.on_white(), split.targets
        near = nearest_indices(split.inputs, views)
        assert torch.equal(nearest_inputs(split.inputs, views), split.inputs.on_white()[near])
        shown_by = {
            "white": (torch.ones_like(wanted), torch.zeros_like(views.alphas)),
            "nearest": (split.inputs.on_white()[near], split.inputs.alphas[near]),
        }
        for method, (shown, alphas) in shown_by.items():
            found = rows[setup, method]
            assert found.psnr == pytest.approx(mean_psnr(shown, wanted))
            assert found.psnr_canonical == pytest.approx(mean_psnr(shown[split.canonical], wanted[split.canonical]))
            assert found.psnr_foreground == pytest.approx(foreground_psnr(shown, wanted, views.alphas))
            assert found.ssim == pytest.approx(ssim(shown, wanted))
            assert found.sharpness == pytest.approx(sharpness(shown, wanted, views.alphas))
            assert found.silhouette_iou == pytest.approx(silhouette_iou(alphas, views.alphas))
            assert math.isnan(found.track_error)
            assert found.flicker == pytest.approx(flicker(shown, wanted, views.cameras, views.times))
        white, nearest, model = (rows[setup, m] for m in ("white", "nearest", "feed-forward"))
        assert min(nearest.psnr_foreground, model.psnr_foreground) > white.psnr_foreground + 5
        assert (white.gaussians, white.seconds) == (0, 0.0)
        assert model.gaussians > 0
        assert model.seconds > 0


def test_the_commit_is_chronosplat_s_and_not_that_of_a_repository_around_it(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True
        )

    installed = tmp_path / "venv" / "chronosplat.py"
    installed.parent.mkdir()
    installed.touch()
    own = tmp_path / "own.py"
    own.touch()
    assert benchmark.commit_of(installed) == ""  # no repository at all
    git("init")
    git("add", "own.py")
    git("commit", "-m", "a project of the user's, with a virtual environment in it")
    assert benchmark.commit_of(installed) == ""
    assert re.fullmatch(r"[0-9a-f]{12}", benchmark.commit_of(own))
    own.write_text("changed")
    assert re.fullmatch(r"[0-9a-f]{12}-dirty", benchmark.commit_of(own))


def test_images_for_the_report() -> None:
    results = evaluated()[0]
    assert [s.setup for s in results.images] == ["alternating", "video", "random, 1 views", "random, 2 views"]
    for shown in results.images:
        assert shown.targets.shape == (4, 32, 32, 3)
        assert all(t.shape == shown.targets.shape for t in shown.rendered.values())
        assert float(shown.targets.std()) > 0.01
    assert list(results.images[0].rendered) == ["white", "nearest", "feed-forward"]
    assert [len(s.inputs) for s in results.images] == [4, 4, 1, 2]
    two = results.images[3].inputs
    assert not torch.equal(two[0], two[1])  # both inputs are shown, not one of them twice


def test_the_same_seed_gives_the_same_figures() -> None:
    again = evaluate(changed(setup=("alternating",), methods=("feed-forward",), seed=3)).rows[0]
    first = next(r for r in evaluated()[0].rows if (r.setup, r.method) == ("alternating", "feed-forward"))
    assert (again.psnr, again.ssim, again.flicker) == (first.psnr, first.ssim, first.flicker)


def test_the_count_curve_runs_the_model_and_fast_refinement_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    class Bench(benchmark.Bench):
        def run(self, method: str) -> benchmark.Run:
            ran.append(method)
            return super().run("feed-forward")

    monkeypatch.setattr(benchmark, "Bench", Bench)
    monkeypatch.setattr(benchmark, "load_model", lambda *_: Knowing(scene_studio(8).scene))
    monkeypatch.setattr(benchmark, "open_studio", lambda *_: scene_studio(8))
    rows = evaluate(changed(setup=(), views=(3,), methods=("white", "feed-forward", "fast", "scratch=fast", "10"))).rows
    assert ran == ["feed-forward", "fast"]
    assert [r.setup for r in rows] == ["random, 3 views"] * 2


def test_what_was_not_measured_is_null_in_json() -> None:
    found = as_dict(row(lpips=math.nan, flicker=math.nan))
    assert found["lpips"] is None
    assert found["flicker"] is None
    assert found["psnr"] == 20.0
    assert found["capture"] == "a"


# what is wrong: config, words in the message
REFUSED: dict[str, tuple[Callable[[Path], EvalConfig], str]] = {
    "no captures": (lambda _: changed(captures=()), "^captures: none given; expected .glb files, procedural:FAMILY"),
    "unknown set-up": (
        lambda _: changed(setup=("random", "rotaing")),
        "^unknown set-up 'rotaing'; known: alternating, interpolation, rotating, random, video, dense4, dense8, dnerf$",
    ),
    "unknown method": (lambda _: changed(methods=("white", "slow")), "^unknown method 'slow'"),
    "nothing to evaluate": (lambda _: changed(setup=()), "set-up"),
    "no method": (lambda _: changed(methods=()), "method"),
    "no method for the counts": (lambda _: changed(setup=(), views=(2,), methods=("white",)), "method"),
    "no views": (lambda _: changed(views=(4, 0)), "^views: expected at least one input view, got 0$"),
    "unknown lpips": (lambda _: changed(lpips="yes"), "^lpips: expected auto, on or off, got 'yes'$"),
    "one timestamp": (lambda _: changed(times=1), "^expected at least 2 times and 16 pixels, got 1 and 32$"),
    "too small": (lambda _: changed(size=8), "^expected at least 2 times and 16 pixels, got 8 and 8$"),
    "unknown model": (lambda _: changed(model="4d-lrm-mimi"), "did you mean 4d-lrm-mini"),
    "unknown family": (lambda _: changed(captures=("procedural:dragon",)), "^procedural:dragon: unknown family; known: creature"),
    "a video": (lambda t: changed(captures=(str(t / "a.mp4"),)), "a video has one viewpoint of unknown pose"),
    "missing folder": (lambda t: changed(captures=(str(t / "gone"),)), "gone: no such file or folder$"),
    "missing model file": (lambda t: changed(captures=(str(t / "gone.glb@Run"),)), "gone.glb: no such file$"),
    "folder without a capture": (lambda t: changed(captures=(str(t),)), "no capture in it; expected transforms_train.json"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, tmp_path: Path) -> None:
    make, message = REFUSED[what]
    with pytest.raises(InputError, match=message):
        evaluate(make(tmp_path))


@pytest.mark.parametrize("what", ["no captures", "unknown set-up", "unknown method", "nothing to evaluate", "no method", "no views"])
def test_refused_before_anything_runs(what: str, tmp_path: Path) -> None:
    make, message = REFUSED[what]
    with pytest.raises(InputError, match=message):
        check(make(tmp_path))


def test_lpips_that_must_be_there_is_refused_without_its_weights() -> None:
    with pytest.raises(UnavailableError, match="is not on this machine"):
        evaluate(changed(lpips="on"))


def test_lpips_is_left_out_with_a_notice() -> None:
    notices: list[Notice] = []
    assert load_perceptual(changed(lpips="auto"), notices) is None
    (notice,) = notices
    assert notice.code == "no-lpips"
    assert str(notice).startswith("LPIPS left out: timm/vgg16.tv_in1k/model.safetensors is not on this machine and cannot be downloaded")
    assert load_perceptual(changed(lpips="off"), kept := list(notices)) is None
    assert kept == notices
    results = evaluate(changed(lpips="auto", setup=("alternating",), methods=("white",)))
    assert results.notices == notices
    assert math.isnan(results.rows[0].lpips)


def test_lpips_is_measured_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = LPIPS().eval()
    monkeypatch.setattr(benchmark, "load_lpips", lambda: network)
    monkeypatch.setattr(benchmark, "load_model", lambda *_: Knowing(scene_studio(8).scene))
    monkeypatch.setattr(benchmark, "open_studio", lambda *_: scene_studio(8))
    white, perfect = evaluate(changed(lpips="on", setup=("interpolation",), methods=("white", "feed-forward"))).rows
    assert white.lpips > 1e-4
    assert perfect.lpips == pytest.approx(0, abs=1e-6)


def test_lite0_is_measured_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Lite0().eval()
    monkeypatch.setattr(benchmark, "load_lite0", lambda: network)
    monkeypatch.setattr(benchmark, "load_model", lambda *_: Knowing(scene_studio(8).scene))
    monkeypatch.setattr(benchmark, "open_studio", lambda *_: scene_studio(8))
    config = changed(setup=("interpolation",), methods=("white", "feed-forward"))
    white, perfect = evaluate(config).rows
    split = SETUPS["interpolation"].split(scene_studio(8), 8)
    wanted = split.targets.on_white()
    assert white.lite0 == pytest.approx(mean_lite0(network, torch.ones_like(wanted), wanted))
    assert white.lite0 > 10 * perfect.lite0

    def missing() -> Lite0:
        raise UnavailableError("not installed")

    monkeypatch.setattr(benchmark, "load_lite0", missing)
    without = evaluate(config)
    assert all(math.isnan(row.lite0) for row in without.rows)
    assert without.notices == []


def test_studios_by_name(tmp_path: Path) -> None:
    save_transforms(ring(), tmp_path / "posed", "train")
    posed = open_studio(str(tmp_path / "posed"), 16, 8, seed=0)
    assert isinstance(posed, CaptureStudio)
    assert posed.name == "posed"
    assert posed.input_frames == list(range(8))
    mesh = open_studio(BLOB, 24, 8, seed=0)
    assert isinstance(mesh, MeshStudio)
    assert (mesh.name, mesh.size, len(mesh.seconds)) == (BLOB, 24, 8)


def test_a_capture_on_disk_is_what_was_saved(tmp_path: Path) -> None:
    """Figures from a folder are those of the mesh, whose images are bytes to begin with."""
    save_transforms(ring(), tmp_path / "posed", "train")
    config = changed(captures=(str(tmp_path / "posed"),), size=16, setup=("rotating",), methods=("white", "nearest"))
    rows = evaluate(config).rows
    assert [r.inputs for r in rows] == [8, 8]
    studio = mesh_studio(8)
    split = split_of(studio, SETUPS["rotating"].inputs(studio, 8))
    wanted = split.targets.on_white()[split.canonical]
    assert all(len(wanted) < r.targets <= len(wanted) + 8 for r in rows)
    assert rows[0].psnr_canonical == pytest.approx(mean_psnr(torch.ones_like(wanted), wanted), abs=1e-5)


@pytest.mark.parametrize("animation", ["Run", "1"])
def test_animations_of_one_file_have_names_of_their_own(animation: str, tmp_path: Path) -> None:
    maker = two_joint_strip()  # bends for one second
    maker.animation("Run", (2, "translation", [0, 3], [(0, 1, 0), (0, 2, 0)], "LINEAR"))
    path = maker.save(tmp_path, "fox.glb")
    named, plain = open_studio(f"{path}@{animation}", 32, 8, 0), open_studio(str(path), 32, 8, 0)
    assert (named.name, plain.name) == (f"fox@{animation}", "fox")
    assert (float(named.seconds[-1]), float(plain.seconds[-1])) == (3, 1)


def test_a_model_that_does_not_move(tmp_path: Path) -> None:
    """All its timestamps look alike: a view that is an input at one of them is a target at none."""
    maker = GltfMaker()
    maker.json["materials"] = [{"doubleSided": True, "pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.3, 0.1, 1]}}]
    maker.node(mesh=maker.mesh(SQUARE + (0, 0, 1), SQUARE_FACES, material=0))
    maker.node(mesh=maker.mesh(SQUARE[:, [2, 1, 0]], SQUARE_FACES, material=0))
    path = str(maker.save(tmp_path, "still.glb"))
    rows = evaluate(changed(captures=(path,), methods=("white",), setup=("alternating", "rotating"), size=16)).rows
    assert [r.setup for r in rows] == ["alternating", "rotating"]
    assert math.isnan(rows[0].psnr_canonical)  # all four canonical views are inputs
    assert rows[0].targets == 8
    assert rows[0].psnr_random < 30
